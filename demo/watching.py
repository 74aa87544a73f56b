"""Following two objects of the cluster as they change: the ModelRollout's status and the HTTPRoute's weights.

Times in the closing table are when this watch saw a change, so they hold the API server's delay as well: what a
person in front of ``kubectl get --watch`` could have measured.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import urllib3
from kubernetes import client, config, watch

from demo.measuring import RouteChange
from demo.rendering import NAMESPACE, ROLLOUT

__all__ = ["Follower", "Recorder"]

_RETRY_SECONDS: Final = 0.5
_LOG = logging.getLogger(__name__)
# These parts of the client carry no types.
_new_watch: Callable[[], Any] = watch.Watch
_client_of: Callable[..., Any] = config.new_client_from_config


class Follower(threading.Thread):
    """Calls a function with every version of one object, for as long as the process lives."""

    def __init__(self, api: Any, resource: tuple[str, str, str], name: str, seen: Callable[[dict[str, Any]], None]):
        super().__init__(name=f"follow-{resource[2]}", daemon=True)
        self._api = api
        self._resource = resource
        self._name = name
        self._seen = seen

    def run(self) -> None:
        """Watch, and watch again whenever the connection ends."""
        group, version, plural = self._resource
        while True:
            try:
                events = _new_watch().stream(
                    self._api.list_namespaced_custom_object,
                    group,
                    version,
                    NAMESPACE,
                    plural,
                    field_selector=f"metadata.name={self._name}",
                )
                for event in events:
                    if event["type"] in ("ADDED", "MODIFIED"):
                        self._seen(event["object"])
            except (client.ApiException, urllib3.exceptions.HTTPError, OSError) as error:
                _LOG.info("the watch of %s ended and begins again: %s", plural, error)
            time.sleep(_RETRY_SECONDS)


class Recorder:
    """The newest status of the rollout, and every change of the route's weights."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._rollout: dict[str, Any] = {}
        self._changes: list[RouteChange] = []

    @classmethod
    def following(cls, kubeconfig: Path) -> Recorder:
        """A recorder that follows the demo's rollout and its route."""
        recorder = cls()
        api = client.CustomObjectsApi(_client_of(config_file=str(kubeconfig)))
        Follower(api, ("modelrollout.io", "v1alpha1", "modelrollouts"), ROLLOUT, recorder.see_rollout).start()
        Follower(api, ("gateway.networking.k8s.io", "v1", "httproutes"), ROLLOUT, recorder.see_route).start()
        return recorder

    def see_rollout(self, rollout: dict[str, Any]) -> None:
        """Take note of a version of the ModelRollout."""
        with self._changed:
            self._rollout = rollout
            self._changed.notify_all()

    def see_route(self, route: dict[str, Any]) -> None:
        """Take note of a version of the HTTPRoute."""
        now = time.time()
        backends = [backend for rule in route["spec"].get("rules", []) for backend in rule.get("backendRefs", [])]
        weights = {backend["name"]: int(backend.get("weight", 1)) for backend in backends}
        with self._changed:
            if not self._changes or self._changes[-1].weights != weights:
                self._changes.append(RouteChange(now, weights))
                self._changed.notify_all()

    def rollout(self) -> dict[str, Any]:
        """The newest version of the ModelRollout; empty before there is one."""
        with self._changed:
            return self._rollout

    def changes(self) -> list[RouteChange]:
        """Every change of the route's weights so far."""
        with self._changed:
            return list(self._changes)

    def wait(self, seconds: float) -> None:
        """Wait for news, at most so long."""
        with self._changed:
            self._changed.wait(seconds)
