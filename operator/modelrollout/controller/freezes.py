"""What stops steps upward for everybody: labelled namespaces, and RolloutFreezes.

Kept as copies, so that a look costs no request. As long as nobody can tell whether the line is stopped it counts as
stopped; a cluster without the CRD has no freezes (the operator may be newer than the CRDs for a while).

An operator of one namespace may have rights in that namespace alone. Its label can then be read, but not watched, so it
is asked for now and then. RolloutFreezes belong to the cluster: where whoever gave the rights left that one out, they
hold nothing, and the log says so.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Final

from modelrollout.api.meta import LABEL_FREEZE
from modelrollout.api.objects import Frozen
from modelrollout.engine.model import Freeze
from modelrollout.kube.client import FREEZES, NAMESPACES, Kube, KubeError, NotFound
from modelrollout.kube.reflector import Reflector

__all__ = ["Freezes"]

_log = logging.getLogger(__name__)

_LOOK_EVERY_SECONDS: Final = 10.0
_FORBIDDEN: Final = 403
_SELDOM_SECONDS: Final = 300.0
"""How often it is tried whether a right was given that is missing on purpose."""


class _OneNamespace:
    """The label of a namespace that may be read and not watched; as much of a reflector as is needed here."""

    def __init__(self, kube: Kube, namespace: str, changed: Callable[[], None]) -> None:
        self._kube = kube
        self._namespace = namespace
        self._changed = changed
        self._body: dict[str, Any] | None = None
        self.error: KubeError | None = None
        self.synced = asyncio.Event()

    def get(self, _: str, namespace: str) -> dict[str, Any] | None:
        """The namespace, if it is this one and stops the line."""
        body = self._body if namespace == self._namespace else None
        labels = ((body or {}).get("metadata") or {}).get("labels") or {}
        return body if labels.get(LABEL_FREEZE) == "true" else None

    async def run(self) -> None:
        """Look for ever."""
        while True:
            before = self.get("", self._namespace), self.error is None
            try:
                self._body = await self._kube.get(NAMESPACES.path(name=self._namespace))
                self.error = None
            except KubeError as error:
                self.error = error
                _log.warning("namespace %s cannot be read, so nothing goes up: %s", self._namespace, error)
            self.synced.set()
            if before != (self.get("", self._namespace), self.error is None):
                self._changed()
            await asyncio.sleep(_LOOK_EVERY_SECONDS)


class Freezes:
    """See the module; ``changed`` is called with a namespace, or with None when all may be concerned."""

    def __init__(self, kube: Kube, changed: Callable[[str | None], None], namespace: str | None = None) -> None:
        self._only = namespace
        self._told = False
        self.labelled: Reflector | _OneNamespace
        if namespace is None:
            self.labelled = Reflector(
                kube, NAMESPACES, lambda body: changed(body["metadata"]["name"]), selector=f"{LABEL_FREEZE}=true"
            )
        else:
            self.labelled = _OneNamespace(kube, namespace, lambda: changed(namespace))
        self.objects = Reflector(
            kube, FREEZES, lambda _: changed(None), longest_pause=_SELDOM_SECONDS if namespace else None
        )

    def of(self, namespace: str) -> tuple[Freeze, ...]:
        """Every freeze that is meant for a namespace, also one that is over."""
        return (*self._label(namespace), *self._objects(namespace))

    def _label(self, namespace: str) -> list[Freeze]:
        held = self.labelled.get("", namespace)
        if held is None:
            unseen = isinstance(self.labelled, _OneNamespace) and self.labelled.error
            return [Freeze(f"the operator cannot read namespace {namespace}", str(unseen))] if unseen else []
        why = (held["metadata"].get("annotations") or {}).get("modelrollout.io/freeze-reason", "")
        what = f"namespace {namespace} is labelled {LABEL_FREEZE}=true"
        return [Freeze(what, why, lift=f"kubectl label namespace {namespace} {LABEL_FREEZE}-")]

    def _objects(self, namespace: str) -> list[Freeze]:
        error = self.objects.error
        if isinstance(error, NotFound) or (self._only and error is not None and error.status == _FORBIDDEN):
            self._tell(error)
            return []
        if not self.objects.synced.is_set():
            return [Freeze("the operator cannot read RolloutFreezes", str(self.objects.error or "not read yet"))]
        found = [Frozen.parse(body) for _, body in sorted(self.objects.objects.items())]
        return [
            Freeze(f"RolloutFreeze {one.name}", one.reason, one.author, one.until, f"kubectl delete mrf {one.name}")
            for one in found
            if one.holds_in(namespace)
        ]

    def _tell(self, error: KubeError) -> None:
        """Once, what an operator of one namespace does not see."""
        if self._only and not self._told and error.status == _FORBIDDEN:
            self._told = True
            what = "RolloutFreezes hold nothing here, only the label %s=true of the namespace does: %s"
            _log.warning(what, LABEL_FREEZE, error)
