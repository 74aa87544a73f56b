"""The wiring: one client, the copies of what is owned, the providers, the queue, and the reconciler that uses them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, Final

from modelrollout.api.meta import LABEL_NAME
from modelrollout.api.objects import Rollout
from modelrollout.api.status import DecidedBy, ModelRolloutStatus
from modelrollout.controller import collector
from modelrollout.controller.doors import Doors
from modelrollout.controller.elector import Election, Elector, Term, Unopposed, now
from modelrollout.controller.events import Events
from modelrollout.controller.freezes import Freezes
from modelrollout.controller.incidents import Incidents
from modelrollout.controller.inside import Work
from modelrollout.controller.page import Page
from modelrollout.controller.parts import Parts
from modelrollout.controller.queue import WorkQueue
from modelrollout.controller.reconcile import Reconciler
from modelrollout.controller.settings import LeaseSettings, Settings
from modelrollout.controller.store import Key, Store
from modelrollout.controller.vouching import Vouching
from modelrollout.kube.client import (
    ADMISSION_BINDINGS,
    ADMISSION_POLICIES,
    AUTOSCALERS,
    DECISIONS,
    DEPLOYMENTS,
    ENDPOINT_SLICES,
    HTTP_ROUTES,
    PODS,
    ROLLOUTS,
    Kube,
    KubeError,
)
from modelrollout.kube.reflector import Reflector, pages
from modelrollout.metrics.registry import METRICS_PROVIDERS
from modelrollout.metrics.sources import Sources
from modelrollout.notify.directory import Directory
from modelrollout.notify.http import Http
from modelrollout.notify.outbox import Outbox
from modelrollout.traffic.registry import TRAFFIC_PROVIDERS
from modelrollout.workloads.adopted import AdoptedWorkload
from modelrollout.workloads.copies import slim_deployment, slim_pod, slim_slice
from modelrollout.workloads.registry import WORKLOAD_PROVIDERS

__all__ = ["Application"]

Body = dict[str, Any]

_log = logging.getLogger(__name__)

_PAUSE_SECONDS: Final = 0.5
_LEASE_SILENT_SECONDS: Final = 60.0
"""A turn with the Lease takes a second or two, with an API server that does not answer as well."""
_YOUNG_SECONDS: Final = 10.0
"""What is found in the first seconds of a term was there before it."""
_REST_SECONDS: Final = 60.0
"""So long an operator stands back when it finds that another one decides without knowing of it."""


class Ending:
    """How the operator ends."""

    def __init__(self) -> None:
        self.flag = asyncio.Event()
        """Set, it stops kopf."""
        self.failed = False
        """Whether something went wrong."""


class Application:
    """Everything that lives as long as the operator. What it knows from deciding lives as long as a term."""

    def __init__(self, settings: Settings, kube: Kube, ending: Ending) -> None:
        self._settings = settings
        self._kube = kube
        self._ending = ending
        self._tasks: list[asyncio.Task[None]] = []
        self._sources = Sources(settings.sources, kube, METRICS_PROVIDERS["prometheus"], settings.metric_hosts)
        self.store = Store()
        self._deployments, self._pods, self._slices = (
            Reflector(
                kube,
                resource,
                self._child_changed,
                selector=LABEL_NAME,
                namespace=settings.namespace,
                index=LABEL_NAME,
                slim=slim,
            )
            for resource, slim in ((DEPLOYMENTS, slim_deployment), (PODS, slim_pod), (ENDPOINT_SLICES, slim_slice))
        )
        self._autoscalers = Reflector(
            kube, AUTOSCALERS, self._child_changed, selector=LABEL_NAME, namespace=settings.namespace
        )
        self._routes = Reflector(kube, HTTP_ROUTES, self._route_changed, namespace=settings.namespace)
        self._freezes = Freezes(kube, self._freeze_changed, settings.namespace)
        self._page = Page(settings.web, kube, self.store, self._deployments) if settings.web else None
        narrow = settings.namespace is not None  # a Role gives no right to what belongs to the cluster
        self._policies, self._bindings = (
            Reflector(kube, resource, lambda _: None, optional=narrow)
            for resource in (ADMISSION_POLICIES, ADMISSION_BINDINGS)
        )
        self._needed = (self._deployments, self._pods, self._slices, self._routes, self._freezes.labelled)
        self._helpful = (self._freezes.objects, self._policies, self._bindings, self._autoscalers)
        self._http, self._guests = Http(), Http(guarded=True)
        self._directory = Directory(settings.receivers, kube, self._http, self._guests, settings.notify_hosts)
        self._doors = Doors(settings, self.store, self._freezes, (*self._needed, *self._helpful))
        self._election = self._election_by(settings.lease)
        self._asked_at = now()
        self._leading: asyncio.Task[None] | None = None
        self._electing: asyncio.Task[None] | None = None
        self._finishing: asyncio.Task[None] | None = None
        self.queue = WorkQueue(_nobody, workers=settings.workers)
        """Of the present term. Before and after it takes in nothing: each term looks at everything first of all."""
        self.queue.close()
        kube.returned = self._api_server_is_back

    async def start(self) -> None:
        """Ask for the Lease, fill the copies, then work: a half-filled copy would look like missing objects."""
        for work in self._doors.open():
            self._spawn(work)
        self._electing = self._spawn(self._election.run())
        await self._election.tried.wait()
        self._asked_at = now()
        for reflector in (*self._needed, *self._helpful):
            self._spawn(reflector.run())
        self._leading = self._spawn(self._work_when_synced())

    def _election_by(self, lease: LeaseSettings) -> Election:
        if not lease.wanted:
            return Unopposed(lease.identity)
        silent = max(_LEASE_SILENT_SECONDS, 4.0 * lease.timing.lease)
        alive = self._doors.expect("the lease's task", silent)
        return Elector(self._kube, lease.namespace, lease.name, lease.identity, lease.timing, alive)

    def _api_server_is_back(self) -> None:
        self.queue.retry()

    def seen(self, body: Body) -> None:
        """A ModelRollout came or changed."""
        if self.store.put(body):
            self.queue.add(_key(body), urgent=True)

    async def _know_rollouts(self) -> None:
        """All of them before the first look, so that their order can be chosen; kopf brings them one by one."""
        try:
            async for page in pages(self._kube, ROLLOUTS.path(self._settings.namespace)):
                for body in page.get("items") or []:
                    self.seen(body)
        except KubeError as error:
            _log.info("the ModelRollouts come by their watch alone: %s", error)

    async def _work_when_synced(self) -> None:
        await self._know_rollouts()
        for reflector in self._needed:
            await reflector.synced.wait()
        for reflector in self._helpful:  # without freezes nothing goes up, without policies approvals do not count
            await reflector.tried.wait()
        collector.calm()
        _log.info("the copies are filled; working")
        if self._page is not None:
            self._spawn(self._page.run())
        while True:
            term = await self._election.elected()
            try:
                rival = await self._decide_in(term)
            except KubeError as error:
                _log.warning("the copies cannot be renewed, so nothing is decided yet: %s", error)
                await asyncio.sleep(_PAUSE_SECONDS)
                continue
            if rival is not None:
                await self._make_room(term, rival)

    async def _decide_in(self, term: Term) -> DecidedBy | None:
        """Work until the term ends; who else decides, if that ended it.

        Nothing that an earlier term left in memory is used: another process may have decided meanwhile.
        """
        if term.began > self._asked_at:
            await self._refresh()
        self.store.forget_decided()
        last = self.store.last_decider()
        if term.outranked(last):
            return last
        parts = self._parts(term)
        reconciler = Reconciler(
            parts,
            metrics_delay=self._settings.metrics_delay,
            wake=lambda key: self.queue.add(key, urgent=True),
            heard=self._heard,
        )
        self.queue = WorkQueue(reconciler.reconcile, workers=self._settings.workers)
        for key in self.store.asked_about():  # those with traffic on a candidate before all others
            self.queue.add(key, urgent=_has_traffic(self.store.rollout(key)))
        self._doors.begin(Work(self.queue, reconciler, parts.outbox), epoch=term.epoch)
        work, over = asyncio.ensure_future(self.queue.run()), asyncio.ensure_future(term.over())
        try:
            await asyncio.wait((work, over), return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                work.result()
        finally:
            for task in (work, over):
                task.cancel()
            await asyncio.gather(work, over, return_exceptions=True)
            self._doors.end()
            self.queue.close()
            reconciler.close()
            await parts.outbox.close()
            await parts.events.close()
        return term.rival

    def _parts(self, term: Term) -> Parts:
        """Hands that can do nothing after the term."""
        kube = self._kube.fenced(term)
        events = Events(kube)
        incidents = Incidents(kube, self._settings.links, events)
        return Parts(
            term=term,
            kube=kube,
            store=self.store,
            workload=WORKLOAD_PROVIDERS["deployment"](
                kube, self._deployments, self._pods, self._slices, self._autoscalers
            ),
            adopted=AdoptedWorkload(kube),
            traffic=TRAFFIC_PROVIDERS["gatewayAPI"](kube, self._routes),
            sources=self._sources,
            freezes=self._freezes,
            outbox=Outbox(self._directory, incidents, wake=lambda key: self.queue.add(key, urgent=False)),
            incidents=incidents,
            vouching=Vouching(self._policies, self._bindings),
            events=events,
        )

    async def _refresh(self) -> None:
        """What the process that decided before may have written last, and no watch has brought yet."""
        rollouts, decisions, *_ = await asyncio.gather(
            _everything(self._kube, ROLLOUTS.path(self._settings.namespace)),
            _everything(self._kube, DECISIONS.path(self._settings.namespace)),
            self._deployments.refresh(),
            self._routes.refresh(),
        )
        self.store.renew(rollouts, decisions)

    async def _make_room(self, term: Term, rival: DecidedBy) -> None:
        """Someone else wrote in an epoch above ours. The Lease was made anew, or was lost and we do not know it yet:
        then asking for it again tells. Or another operator that does not know of our Lease decides too."""
        age = now() - term.began
        if rival.lease != term.by.lease and age > _YOUNG_SECONDS:
            _log.error(
                "another operator decides here too: %s with lease %s, epoch %d; this one (lease %s) rests for %.0f s: "
                "remove one of them, or give both the same --lease-namespace and --lease-name",
                *(rival.holder or "one without a name", rival.lease or "none", rival.epoch, term.by.lease or "none"),
                _REST_SECONDS,
            )
            await asyncio.sleep(_REST_SECONDS)
        self._election.rise_above(rival.epoch)

    def finish_soon(self) -> None:
        """Called on a signal."""
        if self._finishing is None:
            self._finishing = asyncio.create_task(self._finish())

    async def _finish(self) -> None:
        """Stop deciding, let another process begin at once, and end."""
        await self._resign()
        self._ending.flag.set()

    async def _resign(self) -> None:
        ending = [task for task in (self._leading, self._electing) if task is not None]
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)
        await self._election.resign()

    async def stop(self) -> None:
        """End every task and close the connections."""
        await self._resign()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._http.close()
        await self._guests.close()
        await self._sources.close()
        await self._kube.close()
        self._ending.flag.set()  # else kopf waits five seconds for whoever still waits for it

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        task.add_done_callback(self._task_ended)
        self._tasks.append(task)
        return task

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        """None of the tasks ends by itself; when one does, a clean restart beats half an operator."""
        if not task.cancelled():
            _log.critical("a task of the operator ended, so it restarts", exc_info=task.exception())
            self._ending.failed = True
            self._ending.flag.set()

    def _child_changed(self, body: dict[str, Any]) -> None:
        metadata = body["metadata"]
        key = (metadata["namespace"], metadata["labels"][LABEL_NAME])
        if self.store.rollout(key) is not None:
            self.queue.add(key)

    def _heard(self, rollout: Rollout, status: ModelRolloutStatus) -> None:
        self._doors.note(rollout, status)
        if self._page is not None:
            self._page.note(rollout, status)

    def _route_changed(self, body: dict[str, Any]) -> None:
        for key in self.store.routed(_key(body)):
            self.queue.add(key, urgent=True)

    def _freeze_changed(self, namespace: str | None) -> None:
        for key in self.store.keys(namespace):
            self.queue.add(key)


def _key(body: Body) -> Key:
    return body["metadata"]["namespace"], body["metadata"]["name"]


def _has_traffic(body: Body | None) -> bool:
    status = (body or {}).get("status") or {}
    return bool(status.get("candidate")) and status.get("weight", 0) > 0


async def _everything(kube: Kube, path: str) -> tuple[list[Body], int]:
    """All objects of a collection, and the resourceVersion at which they were like that."""
    found: list[Body] = []
    version = 0
    async for page in pages(kube, path):
        found += page.get("items") or []
        version = int(page["metadata"]["resourceVersion"])
    return found, version


async def _nobody(_: tuple[str, str]) -> float | None:
    """What looks at rollouts before the first term."""
    return None
