"""Keeping the Lease: asks and writes as :mod:`modelrollout.controller.lease` says, and hands out the *terms*.

A term is one stretch of time in which this process decides. It ends when the Lease could not be renewed in time, when
somebody else has it, or when the process stops; all that was known in it then ends with it, as after a crash.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import random
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final, Protocol

from modelrollout.api.status import DecidedBy
from modelrollout.controller.lease import Candidacy, Record, Timing
from modelrollout.kube.client import LEASES, ConflictError, FencedError, Kube, KubeError, NotFound

__all__ = ["Elector", "Term", "Unopposed", "now"]

_log = logging.getLogger(__name__)

_CLOCK: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def now() -> float:
    """Seconds on a clock that nobody sets, and that goes on while the machine sleeps (where the system has one)."""
    return time.clock_gettime(_CLOCK)


class Term:
    """One stretch of time in which this process decides; see :class:`modelrollout.kube.client.Fence`."""

    def __init__(self, by: DecidedBy, *, careful: float, until: float = math.inf) -> None:
        self.by = by
        """What is written with every status."""
        self.careful = careful
        self.began = now()
        self.ended = asyncio.Event()
        self.rival: DecidedBy | None = None
        """Who else decides, or did in a higher epoch; that ends this term."""
        self._until = until
        self._renewed = asyncio.Event()

    @property
    def epoch(self) -> int:
        """Rises with each term, whoever has it."""
        return self.by.epoch

    @property
    def left(self) -> float:
        """Seconds for which this process decides for sure."""
        return 0.0 if self.ended.is_set() else self._until - now()

    def renew(self, until: float) -> None:
        """It lasts longer."""
        self._until = until
        self._renewed.set()

    def end(self) -> None:
        """Nothing is written in it any more."""
        self.ended.set()
        self._renewed.set()

    def outranked(self, by: DecidedBy | None) -> bool:
        """Whether somebody else has written in an epoch that is not below this one."""
        return by is not None and by.epoch >= self.epoch and by != self.by

    def mind(self, status: DecidedBy | None, marker: int) -> None:
        """Look at who wrote a status, and at the epoch of what was written on a route.

        Raises
        ------
        FencedError
            If either is above this term, which ends it.
        """
        if marker > self.epoch and (status is None or marker > status.epoch):
            status = DecidedBy(epoch=marker)
        if self.outranked(status):
            self.rival = status
            self.end()
            raise FencedError("another operator decides here, so this one stops")

    async def over(self) -> None:
        """Wait until it is."""
        while (left := self.left) > 0.0:
            await self._wait(left)

    async def hold(self, seconds: float) -> None:
        """Return as soon as it is sure to last for so many seconds more.

        Raises
        ------
        FencedError
            If it is over.
        """
        while (left := self.left) <= seconds:
            if left <= 0.0:
                raise FencedError("this operator does not decide any more, so nothing more is written")
            await self._wait(left)

    async def _wait(self, seconds: float) -> None:
        """Until it was renewed or ended, but no longer than that."""
        self._renewed.clear()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._renewed.wait(), None if math.isinf(seconds) else seconds)


class Election(Protocol):
    """Who hands out the terms."""

    term: Term | None
    """The present one."""
    tried: asyncio.Event
    """It is known whether there is one."""

    async def run(self) -> None:
        """Go on for ever."""
        ...

    async def elected(self) -> Term:
        """Wait until this process decides."""
        ...

    def rise_above(self, epoch: int) -> None:
        """End the present term; the next one has a higher epoch than this."""
        ...

    async def resign(self) -> None:
        """End the present term for good, and let another process begin at once."""
        ...


class Unopposed:
    """No election: this process alone decides, says who started it."""

    def __init__(self, me: str) -> None:
        self._me = me
        self.term: Term | None = self._begin(1)
        self.tried = asyncio.Event()
        self.tried.set()

    def _begin(self, epoch: int) -> Term:
        return Term(DecidedBy(lease="", holder=self._me, epoch=epoch), careful=math.inf)

    async def run(self) -> None:
        """Nothing to do."""
        await asyncio.Event().wait()

    async def elected(self) -> Term:
        """Always."""
        if self.term is None:
            await asyncio.Event().wait()
        assert self.term is not None
        return self.term

    def rise_above(self, epoch: int) -> None:
        """Begin a term with a higher epoch."""
        if self.term is not None:
            self.term.end()
            self.term = self._begin(epoch + 1)

    async def resign(self) -> None:
        """End for good."""
        if self.term is not None:
            self.term.end()
            self.term = None


class Elector:
    """See the module."""

    def __init__(
        self, kube: Kube, namespace: str, name: str, me: str, timing: Timing, alive: Callable[[], None]
    ) -> None:
        self._kube = kube
        self._namespace = namespace
        self._name = name
        self._timing = timing
        self._alive = alive
        self._candidacy = Candidacy(me, timing)
        self._version = ""
        self._complained = ""
        self._hurry = asyncio.Event()
        self._begun = asyncio.Event()
        self.tried = asyncio.Event()
        """The Lease was asked for once, with success or not."""
        self.term: Term | None = None

    async def run(self) -> None:
        """Seek and keep the Lease for ever."""
        beaten = False
        while True:
            self._alive()
            answered = False
            try:
                await self._turn()
                answered, beaten, self._complained = True, False, ""
            except ConflictError as error:  # somebody was faster, or an answer was lost: once, look again without pause
                if beaten:
                    self._complain(str(error))
                else:
                    self._hurry.set()
                beaten = True
            except KubeError as error:
                self._complain(f"{error}{self._remedy(error)}")
            self._follow()
            self.tried.set()
            await self._pause(answered=answered)

    async def elected(self) -> Term:
        """Wait until this process decides."""
        while self.term is None or self.term.left <= 0.0:
            self._begun.clear()
            await self._begun.wait()
        return self.term

    def rise_above(self, epoch: int) -> None:
        """End the present term; the next one has a higher epoch than this."""
        self._candidacy.rise_above(epoch)
        self._follow()
        self._hurry.set()

    async def resign(self) -> None:
        """Give the Lease back, so that another process begins at once; :meth:`run` must have ended before."""
        for _ in range(2):
            record = self._candidacy.resigned()
            self._follow()
            if record is None:
                return
            try:
                await self._put(record)
                _log.info("the lease %s is given back", self._name)
                return
            except ConflictError:  # a renewal that was cut off was taken all the same
                with contextlib.suppress(KubeError):
                    await self._look()
            except KubeError as error:
                _log.info("the lease %s cannot be given back, and runs out: %s", self._name, error)
                return

    async def _turn(self) -> None:
        """Look, unless the Lease is ours for sure, and write if it is ours or free."""
        candidacy = self._candidacy
        if not candidacy.leads(now()):
            await self._look()
        if not candidacy.may_write(now()):
            return
        sent = now()
        record = candidacy.proposal(sent, _stamp())
        try:
            await self._put(record)
        except ConflictError:
            await self._look()
            raise
        candidacy.granted(record, sent, now())

    async def _look(self) -> None:
        path = LEASES.path(self._namespace, self._name)
        try:
            body = await self._kube.get_within(self._timing.request, path)
        except NotFound:
            self._version = ""
            self._candidacy.saw(None, now())
            return
        self._version = body["metadata"]["resourceVersion"]
        self._candidacy.saw(_read(body), now())

    async def _put(self, record: Record) -> None:
        """Write the record, if nobody wrote since it was read.

        Raises
        ------
        ConflictError
            If somebody did.
        """
        body: dict[str, Any] = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": self._name, "namespace": self._namespace},
            "spec": _written(record),
        }
        if self._version:
            body["metadata"]["resourceVersion"] = self._version
            path = LEASES.path(self._namespace, self._name)
            answer = await self._kube.replace(path, body, seconds=self._timing.request)
        else:
            answer = await self._kube.create(LEASES.path(self._namespace), body, seconds=self._timing.request)
        self._version = answer["metadata"]["resourceVersion"]

    def _follow(self) -> None:
        """Begin, prolong or end the term, as the Lease stands now."""
        candidacy = self._candidacy
        leads = candidacy.leads(now())
        if self.term is not None and (not leads or self.term.epoch != candidacy.epoch):
            self.term.end()
            self.term = None
            _log.warning("this operator does not decide any more: its time with the lease %s is over", self._name)
        if self.term is not None:
            self.term.renew(candidacy.until)
        elif leads:
            by = DecidedBy(lease=f"{self._namespace}/{self._name}", holder=candidacy.me, epoch=candidacy.epoch)
            self.term = Term(by, careful=self._timing.careful, until=candidacy.until)
            self._begun.set()
            _log.info("this operator decides from now on: lease %s, epoch %d", self._name, candidacy.epoch)

    async def _pause(self, *, answered: bool) -> None:
        """Until the next turn; those who wait do not all come at the same moment."""
        pause = self._candidacy.pause(now(), answered=answered)
        seconds = pause if self.term is not None else pause * random.uniform(0.8, 1.2)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._hurry.wait(), seconds)
        self._hurry.clear()

    def _remedy(self, error: KubeError) -> str:
        """What a person can do about what will not pass by itself: without a Lease nobody decides."""
        if isinstance(error, NotFound):
            return (
                f"; so nobody decides: create the namespace {self._namespace} (manifests/base has it), name another "
                "with --lease-namespace, or start a lone operator with --no-leader-elect"
            )
        return "; so nobody decides: apply manifests/base/rbac.yaml" if error.status == 403 else ""

    def _complain(self, problem: str) -> None:
        """Say what is wrong, once."""
        if problem != self._complained:
            _log.warning("the lease %s/%s: %s", self._namespace, self._name, problem)
            self._complained = problem


def _stamp() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _read(body: dict[str, Any]) -> Record:
    """What stands in a Lease, however incomplete."""
    spec = body.get("spec") or {}
    return Record(
        holder=spec.get("holderIdentity") or "",
        seconds=int(spec.get("leaseDurationSeconds") or 0),
        epoch=int(spec.get("leaseTransitions") or 0),
        acquired=spec.get("acquireTime") or "",
        renewed=spec.get("renewTime") or "",
    )


def _written(record: Record) -> dict[str, Any]:
    return {
        "holderIdentity": record.holder or None,
        "leaseDurationSeconds": record.seconds,
        "acquireTime": record.acquired,
        "renewTime": record.renewed,
        "leaseTransitions": record.epoch,
    }
