"""kopf, as a thin edge: watch events in, keys into the queue.

Only ``on.event``: it leaves no annotation and no finalizer on anybody's object, needs no memory per object, and cannot
be confused by a restart. Handlers of the other kinds would store a copy of the spec in annotations and retry from
there; a test keeps them out.
"""

from __future__ import annotations

import asyncio
import signal
from typing import Any

import kopf

from modelrollout.api.meta import GROUP, VERSION
from modelrollout.controller.app import Application, Ending
from modelrollout.controller.settings import Settings
from modelrollout.kube.client import Kube

__all__ = ["register"]


def register(registry: kopf.OperatorRegistry, settings: Settings, ending: Ending) -> None:
    """Register every handler of the operator."""
    holder: dict[str, Application] = {}

    @kopf.on.startup(registry=registry)
    async def start(settings: kopf.OperatorSettings, **_: Any) -> None:
        configure(settings)
        kube = await Kube.connect(_ours.kubeconfig, qps=_ours.kube_qps, burst=_ours.kube_burst)
        app = Application(_ours, kube, ending)
        holder["app"] = app
        for one in (signal.SIGTERM, signal.SIGINT):  # kopf's own handlers would only get to the lease last of all
            asyncio.get_running_loop().add_signal_handler(one, app.finish_soon)
        await app.start()

    @kopf.on.cleanup(registry=registry)
    async def stop(**_: Any) -> None:
        if "app" in holder:
            await holder.pop("app").stop()

    @kopf.on.login(registry=registry)
    def login(**kwargs: Any) -> kopf.ConnectionInfo | None:
        if _ours.kubeconfig is not None:
            return kopf.login_with_kubeconfig(**kwargs)
        return kopf.login_with_service_account(**kwargs)

    @kopf.on.event(GROUP, VERSION, "modelrollouts", registry=registry)
    async def rollout_event(body: kopf.Body, type: str | None, **_: Any) -> None:
        app, raw = holder["app"], _plain(body)
        key = (raw["metadata"]["namespace"], raw["metadata"]["name"])
        if type == "DELETED":
            app.store.drop(key, raw["metadata"]["uid"])
            app.queue.add(key)
        else:
            app.seen(raw)

    @kopf.on.event(GROUP, VERSION, "rolloutdecisions", registry=registry)
    async def decision_event(body: kopf.Body, type: str | None, **_: Any) -> None:
        app, raw = holder["app"], _plain(body)
        if type == "DELETED":
            app.store.drop_decision((raw["metadata"]["namespace"], raw["spec"]["rollout"]), raw["metadata"]["name"])
        elif not (raw.get("status") or {}).get("state"):
            app.queue.add(app.store.put_decision(raw), urgent=True)

    _ours = settings


def _plain(body: kopf.Body) -> dict[str, Any]:
    """The object as a plain dict of its own."""
    return dict(body)


def configure(settings: kopf.OperatorSettings) -> None:
    """kopf's own settings: no peering, no events of its own, short timeouts."""
    settings.peering.standalone = True
    settings.posting.enabled = False
    settings.scanning.disabled = True
    settings.networking.request_timeout = 20
    settings.networking.connect_timeout = 5
    settings.watching.connect_timeout = 5
    settings.watching.server_timeout = 600
    settings.queueing.idle_timeout = 1.0
