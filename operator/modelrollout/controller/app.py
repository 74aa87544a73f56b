"""The wiring: one client, the copies of what is owned, the providers, the queue, and the reconciler that uses them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

from modelrollout.api.meta import LABEL_NAME
from modelrollout.api.objects import Rollout
from modelrollout.api.status import ModelRolloutStatus
from modelrollout.controller import collector
from modelrollout.controller.doors import Doors
from modelrollout.controller.events import Events
from modelrollout.controller.freezes import Freezes
from modelrollout.controller.incidents import Incidents
from modelrollout.controller.inside import Work
from modelrollout.controller.page import Page
from modelrollout.controller.parts import Parts
from modelrollout.controller.queue import WorkQueue
from modelrollout.controller.reconcile import Reconciler
from modelrollout.controller.settings import Settings
from modelrollout.controller.store import Key, Store
from modelrollout.controller.vouching import Vouching
from modelrollout.kube.client import (
    ADMISSION_BINDINGS,
    ADMISSION_POLICIES,
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


class Application:
    """Everything that lives as long as the operator."""

    def __init__(self, settings: Settings, kube: Kube, failed: asyncio.Event) -> None:
        self._kube = kube
        self._failed = failed
        self._namespace = settings.namespace
        self._works = False
        """Before, every ModelRollout waits for its first look anyway."""
        self._tasks: list[asyncio.Task[None]] = []
        self._sources = Sources(settings.sources, kube, METRICS_PROVIDERS["prometheus"], settings.metric_hosts)
        self.store = Store()
        deployments, pods, slices = (
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
        routes = Reflector(kube, HTTP_ROUTES, self._route_changed, namespace=settings.namespace)
        self._freezes = Freezes(kube, self._freeze_changed, settings.namespace)
        self._page = Page(settings.web, kube, self.store, deployments) if settings.web else None
        self._reflectors = (deployments, pods, slices, routes, self._freezes.labelled)
        narrow = settings.namespace is not None  # a Role gives no right to what belongs to the cluster
        policies, bindings = (
            Reflector(kube, resource, lambda _: None, optional=narrow)
            for resource in (ADMISSION_POLICIES, ADMISSION_BINDINGS)
        )
        self._http, self._guests = Http(), Http(guarded=True)
        directory = Directory(settings.receivers, kube, self._http, self._guests, settings.notify_hosts)
        self._events = Events(kube)
        incidents = Incidents(kube, settings.links, self._events)
        self._outbox = Outbox(directory, incidents, wake=lambda key: self.queue.add(key, urgent=False))
        self._helpful = (self._freezes.objects, policies, bindings)
        parts = Parts(
            kube=kube,
            store=self.store,
            workload=WORKLOAD_PROVIDERS["deployment"](kube, deployments, pods, slices),
            adopted=AdoptedWorkload(kube),
            traffic=TRAFFIC_PROVIDERS["gatewayAPI"](kube, routes),
            sources=self._sources,
            freezes=self._freezes,
            outbox=self._outbox,
            incidents=incidents,
            vouching=Vouching(policies, bindings),
            events=self._events,
        )
        self._reconciler = Reconciler(
            parts,
            metrics_delay=settings.metrics_delay,
            wake=lambda key: self.queue.add(key, urgent=True),
            heard=self._heard,
        )
        self.queue = WorkQueue(self._reconciler.reconcile, workers=settings.workers)
        kube.returned = self.queue.retry
        self._doors = Doors(settings, self.store, self._freezes, (*self._reflectors, *self._helpful))
        self._doors.begin(Work(self.queue, self._reconciler, self._outbox))

    async def start(self) -> None:
        """Fill the copies, then begin to work: a half-filled copy would look like missing objects."""
        for work in self._doors.open():
            self._spawn(work)
        for reflector in (*self._reflectors, *self._helpful):
            self._spawn(reflector.run())
        self._spawn(self._work_when_synced())

    def seen(self, body: Body) -> None:
        """A ModelRollout came or changed. What comes before the work begins is in no hurry, unless a candidate has
        traffic already: those are looked at before all others."""
        if self.store.put(body):
            status = body.get("status") or {}
            has_traffic = bool(status.get("candidate")) and status.get("weight", 0) > 0
            self.queue.add(_key(body), urgent=self._works or has_traffic)

    async def _know_rollouts(self) -> None:
        """All of them before the first look, so that their order can be chosen; kopf brings them one by one."""
        try:
            async for page in pages(self._kube, ROLLOUTS.path(self._namespace)):
                for body in page.get("items") or []:
                    self.seen(body)
        except KubeError as error:
            _log.info("the ModelRollouts come by their watch alone: %s", error)

    async def _work_when_synced(self) -> None:
        await self._know_rollouts()
        for reflector in self._reflectors:
            await reflector.synced.wait()
        for reflector in self._helpful:  # without freezes nothing goes up, without policies approvals do not count
            await reflector.tried.wait()
        self._works = True
        collector.calm()
        _log.info("the copies are filled; working")
        if self._page is not None:
            self._spawn(self._page.run())
        await self.queue.run()

    async def stop(self) -> None:
        """End every task and close the connections."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._outbox.close()
        await self._http.close()
        await self._guests.close()
        await self._sources.close()
        await self._events.close()
        await self._kube.close()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        task.add_done_callback(self._task_ended)
        self._tasks.append(task)

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        """None of the tasks ends by itself; when one does, a clean restart beats half an operator."""
        if not task.cancelled():
            _log.critical("a task of the operator ended, so it restarts", exc_info=task.exception())
            self._failed.set()

    def _child_changed(self, body: dict[str, Any]) -> None:
        metadata = body["metadata"]
        key = (metadata["namespace"], metadata["labels"][LABEL_NAME])
        if self._works and self.store.rollout(key) is not None:
            self.queue.add(key)

    def _heard(self, rollout: Rollout, status: ModelRolloutStatus) -> None:
        self._doors.note(rollout, status)
        if self._page is not None:
            self._page.note(rollout, status)

    def _route_changed(self, body: dict[str, Any]) -> None:
        for key in self.store.routed(_key(body)) if self._works else ():
            self.queue.add(key, urgent=True)

    def _freeze_changed(self, namespace: str | None) -> None:
        for key in self.store.keys(namespace) if self._works else ():
            self.queue.add(key)


def _key(body: Body) -> Key:
    return body["metadata"]["namespace"], body["metadata"]["name"]
