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


class _OneNamespace(Reflector):
    """The copy of one namespace that may be read and not watched: it is asked for again and again."""

    def __init__(self, kube: Kube, namespace: str, changed: Callable[[dict[str, Any]], None]) -> None:
        super().__init__(kube, NAMESPACES, changed)
        self._namespace = namespace

    async def run(self) -> None:
        """Look for ever."""
        while True:
            self.alive_at = asyncio.get_running_loop().time()
            await self._look()
            self.tried.set()
            self.synced.set()
            await asyncio.sleep(_LOOK_EVERY_SECONDS)

    async def _look(self) -> None:
        before, error = self.get("", self._namespace), self.error
        try:
            body = await self._kube.get(NAMESPACES.path(name=self._namespace))
        except KubeError as failed:
            self.error = failed
            _log.warning("namespace %s cannot be read, so nothing goes up: %s", self._namespace, failed)
            return
        self.error = None
        labelled = (body["metadata"].get("labels") or {}).get(LABEL_FREEZE) == "true"
        self.objects = {("", self._namespace): body} if labelled else {}
        if (before is not None) is not labelled or error is not None:
            self._changed(body)


class Freezes:
    """See the module; ``changed`` is called with a namespace, or with None when all may be concerned."""

    def __init__(self, kube: Kube, changed: Callable[[str | None], None], namespace: str | None = None) -> None:
        self._only = namespace
        self._told = False

        def labelled(body: dict[str, Any]) -> None:
            changed(body["metadata"]["name"])

        self.labelled = (
            Reflector(kube, NAMESPACES, labelled, selector=f"{LABEL_FREEZE}=true")
            if namespace is None
            else _OneNamespace(kube, namespace, labelled)
        )
        self.objects = Reflector(kube, FREEZES, lambda _: changed(None), optional=namespace is not None)

    def of(self, namespace: str) -> tuple[Freeze, ...]:
        """Every freeze that is meant for a namespace, also one that is over."""
        return (*self._label(namespace), *self._objects(namespace))

    def _label(self, namespace: str) -> list[Freeze]:
        held = self.labelled.get("", namespace)
        if held is None:
            error = self.labelled.error if self._only else None
            return [Freeze(f"the operator cannot read namespace {namespace}", str(error))] if error else []
        why = (held["metadata"].get("annotations") or {}).get("modelrollout.io/freeze-reason", "")
        what = f"namespace {namespace} is labelled {LABEL_FREEZE}=true"
        return [Freeze(what, why, lift=f"kubectl label namespace {namespace} {LABEL_FREEZE}-")]

    def _objects(self, namespace: str) -> list[Freeze]:
        error = self.objects.error
        if isinstance(error, NotFound):
            return []
        if not self.objects.synced.is_set():
            if self._only and error is not None and error.status == _FORBIDDEN:
                self._tell(error)
                return []
            return [Freeze("the operator cannot read RolloutFreezes", str(error or "not read yet"))]
        found = [Frozen.parse(body) for _, body in sorted(self.objects.objects.items())]
        return [
            Freeze(f"RolloutFreeze {one.name}", one.reason, one.author, one.until, f"kubectl delete mrf {one.name}")
            for one in found
            if one.holds_in(namespace)
        ]

    def _tell(self, error: KubeError) -> None:
        """Once, what an operator of one namespace does not see."""
        if not self._told:
            self._told = True
            what = "RolloutFreezes hold nothing here, only the label %s=true of the namespace does: %s"
            _log.warning(what, LABEL_FREEZE, error)
