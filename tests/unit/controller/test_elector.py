"""The elector against a Lease that behaves like the API server's, and the terms it hands out."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any, cast

import pytest

from modelrollout.api.status import DecidedBy
from modelrollout.controller.elector import Elector, Term, Unopposed, now
from modelrollout.controller.lease import Timing
from modelrollout.kube.client import ConflictError, FencedError, Kube, KubeError, NotFound

Body = dict[str, Any]

QUICK = Timing(lease=1, renew=0.2, retry=0.1)


class OneLease:
    """What the API server does with a Lease."""

    def __init__(self) -> None:
        self.body: Body | None = None
        self.version = 0
        self.broken = False
        self.refusal: KubeError | None = None

    def _take(self, body: Body) -> Body:
        self.version += 1
        self.body = body | {"metadata": body["metadata"] | {"resourceVersion": str(self.version)}}
        return self.body

    def _check(self) -> None:
        if self.broken:
            raise KubeError(500, "etcdserver: request timed out")

    async def get_within(self, seconds: float, path: str) -> Body:
        self._check()
        if self.body is None:
            raise NotFound(404, path)
        return self.body

    async def create(self, path: str, body: Body, **_: Any) -> Body:
        self._check()
        if self.refusal is not None:
            raise self.refusal
        if self.body is not None:
            raise ConflictError(409, "exists")
        return self._take(body)

    async def replace(self, path: str, body: Body, **_: Any) -> Body:
        self._check()
        if body["metadata"]["resourceVersion"] != str(self.version):
            raise ConflictError(409, "the object has been modified")
        return self._take(body)

    @property
    def spec(self) -> Body:
        assert self.body is not None
        return cast(Body, self.body["spec"])


def elector(lease: OneLease, me: str, alive: Callable[[], None] = lambda: None) -> Elector:
    return Elector(cast(Kube, lease), "modelrollout-system", "modelrollout", me, QUICK, alive)


@contextlib.asynccontextmanager
async def running(one: Elector) -> AsyncIterator[Elector]:
    """It runs, and stops as at a crash."""
    task = asyncio.create_task(one.run())
    try:
        yield one
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_the_first_one_decides_at_once_and_says_who_it_is() -> None:
    lease = OneLease()
    async with running(elector(lease, "pod-a")) as one:
        await one.tried.wait()
        assert one.term is not None, "start-up waits for nothing"
        assert one.term.by == DecidedBy(lease="modelrollout-system/modelrollout", holder="pod-a", epoch=1)
        assert lease.spec["holderIdentity"] == "pod-a"
        assert lease.spec["leaseDurationSeconds"] == 1


async def test_detail_28_a_standby_takes_over_from_the_dead() -> None:
    lease = OneLease()
    leader, standby = elector(lease, "pod-a"), elector(lease, "pod-b")
    dying = asyncio.create_task(leader.run())
    first = await asyncio.wait_for(leader.elected(), 20)
    async with running(standby):
        await asyncio.sleep(1.5)
        assert standby.term is None
        assert first.left > 0.0, "it is renewed"
        dying.cancel()
        second = await asyncio.wait_for(standby.elected(), 20)
        assert first.left <= 0.0
        assert second.epoch == 2


async def test_it_gives_signs_of_life_also_while_the_api_server_refuses() -> None:
    """The liveness probe listens to them: a task that hangs is started anew, one that is refused is not."""
    lease, heard = OneLease(), asyncio.Semaphore(0)
    lease.broken = True
    async with running(elector(lease, "pod-a", heard.release)):
        for _ in range(3):
            await asyncio.wait_for(heard.acquire(), 20)


@pytest.mark.parametrize(
    ("refusal", "remedy"),
    [
        (
            NotFound(404, 'namespaces "modelrollout-system" not found'),
            "--lease-namespace, or start a lone operator with",
        ),
        (KubeError(403, "leases.coordination.k8s.io is forbidden"), "apply manifests/base/rbac.yaml"),
    ],
)
async def test_a_lease_that_cannot_be_made_is_told_with_the_remedy(
    refusal: KubeError, remedy: str, caplog: pytest.LogCaptureFixture
) -> None:
    lease = OneLease()
    lease.refusal = refusal
    async with running(elector(lease, "a")) as one:
        await asyncio.wait_for(one.tried.wait(), 5)
        await asyncio.sleep(0.5)
    assert one.term is None
    assert [record.getMessage() for record in caplog.records if remedy in record.getMessage()] != []
    assert len(caplog.records) == 1, "it is said once"


async def test_what_is_given_back_is_taken_at_once() -> None:
    lease = OneLease()
    async with running(elector(lease, "pod-a")) as leader:
        term = await leader.elected()
    await leader.resign()
    assert term.ended.is_set()
    assert lease.spec["holderIdentity"] is None
    async with running(elector(lease, "pod-b")) as next_one:
        await next_one.tried.wait()
        assert next_one.term is not None
        assert next_one.term.epoch == 2


async def test_detail_28_a_term_ends_by_itself_when_the_lease_cannot_be_renewed() -> None:
    lease = OneLease()
    async with running(elector(lease, "pod-a")) as one:
        term = await one.elected()
        lease.broken = True
        await asyncio.wait_for(term.over(), 20)
        assert term.left <= 0.0
        with pytest.raises(FencedError, match="does not decide any more"):
            await term.hold(0.0)
        lease.broken = False
        again = await asyncio.wait_for(one.elected(), 20)
        assert again.epoch == 2, "what was sent in the first term can be told from the second's"


async def test_whoever_is_outranked_takes_it_anew() -> None:
    lease = OneLease()
    async with running(elector(lease, "pod-a")) as one:
        term = await one.elected()
        one.rise_above(7)
        assert term.ended.is_set()
        assert (await asyncio.wait_for(one.elected(), 20)).epoch == 8


async def test_a_careful_write_waits_for_the_next_renewal_and_not_for_ever() -> None:
    term = Term(DecidedBy(epoch=1), careful=0.5, until=now() + 0.3)
    waiting = asyncio.ensure_future(term.hold(0.5))
    await asyncio.sleep(0.05)
    assert not waiting.done(), "the request could outlive the lease"
    term.renew(now() + 5.0)
    await asyncio.wait_for(waiting, 5)
    short = Term(DecidedBy(epoch=1), careful=0.5, until=now() + 0.2)
    with pytest.raises(FencedError):
        await short.hold(0.5)


@pytest.mark.parametrize(
    ("status", "marker", "outranked"),
    [
        (None, 0, False),
        (DecidedBy(lease="a/b", holder="us", epoch=3), 3, False),
        (DecidedBy(lease="a/b", holder="before", epoch=2), 2, False),
        (DecidedBy(lease="a/b", holder="next", epoch=4), 0, True),
        (DecidedBy(lease="x/y", holder="stranger", epoch=3), 0, True),
        (None, 4, True),
        (DecidedBy(lease="a/b", holder="us", epoch=3), 5, True),
    ],
)
async def test_detail_28_a_higher_epoch_ends_the_term(status: DecidedBy | None, marker: int, outranked: bool) -> None:
    term = Term(DecidedBy(lease="a/b", holder="us", epoch=3), careful=1.0)
    if not outranked:
        term.mind(status, marker)
        assert term.left > 0.0
        return
    with pytest.raises(FencedError, match="another operator"):
        term.mind(status, marker)
    assert term.ended.is_set()
    assert term.rival is not None
    assert term.rival.epoch == max(marker, status.epoch if status else 0)


async def test_without_an_election_it_decides_for_ever_and_still_rises_above_others() -> None:
    alone = Unopposed("laptop")
    term = await alone.elected()
    await term.hold(1e9)
    alone.rise_above(12)
    assert term.ended.is_set()
    assert (await alone.elected()).epoch == 13
