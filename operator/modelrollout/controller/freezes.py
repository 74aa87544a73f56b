"""What stops steps upward for everybody: labelled namespaces, and RolloutFreezes.

Kept as copies, so that a look costs no request. As long as nobody can tell whether the line is stopped it counts as
stopped; a cluster without the CRD has no freezes (the operator may be newer than the CRDs for a while).
"""

from __future__ import annotations

from collections.abc import Callable

from modelrollout.api.meta import LABEL_FREEZE
from modelrollout.api.objects import Frozen
from modelrollout.engine.model import Freeze
from modelrollout.kube.client import FREEZES, NAMESPACES, Kube, NotFound
from modelrollout.kube.reflector import Reflector

__all__ = ["Freezes"]


class Freezes:
    """See the module; ``changed`` is called with a namespace, or with None when all may be concerned."""

    def __init__(self, kube: Kube, changed: Callable[[str | None], None]) -> None:
        self.labelled = Reflector(
            kube, NAMESPACES, lambda body: changed(body["metadata"]["name"]), selector=f"{LABEL_FREEZE}=true"
        )
        self.objects = Reflector(kube, FREEZES, lambda _: changed(None))

    def of(self, namespace: str) -> tuple[Freeze, ...]:
        """Every freeze that is meant for a namespace, also one that is over."""
        return (*self._label(namespace), *self._objects(namespace))

    def _label(self, namespace: str) -> list[Freeze]:
        held = self.labelled.get("", namespace)
        if held is None:
            return []
        why = (held["metadata"].get("annotations") or {}).get("modelrollout.io/freeze-reason", "")
        what = f"namespace {namespace} is labelled {LABEL_FREEZE}=true"
        return [Freeze(what, why, lift=f"kubectl label namespace {namespace} {LABEL_FREEZE}-")]

    def _objects(self, namespace: str) -> list[Freeze]:
        if isinstance(self.objects.error, NotFound):
            return []
        if not self.objects.synced.is_set():
            return [Freeze("the operator cannot read RolloutFreezes", str(self.objects.error or "not read yet"))]
        found = [Frozen.parse(body) for _, body in sorted(self.objects.objects.items())]
        return [
            Freeze(f"RolloutFreeze {one.name}", one.reason, one.author, one.until, f"kubectl delete mrf {one.name}")
            for one in found
            if one.holds_in(namespace)
        ]
