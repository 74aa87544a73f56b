"""ModelRollout and RolloutDecision as read from the API server: parsed once, with the raw spec kept for hashing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from modelrollout.api.decision import RolloutDecisionSpec
from modelrollout.api.freeze import RolloutFreezeSpec
from modelrollout.api.meta import ANNOTATION_AUTHOR
from modelrollout.api.rollout import ModelRolloutSpec
from modelrollout.api.status import ModelRolloutStatus

__all__ = ["Decided", "Frozen", "Rollout", "parse_time", "read_status"]


@lru_cache(maxsize=65_536)
def parse_time(text: str) -> datetime:
    """An RFC 3339 time as the API server writes it, in UTC.

    Raises
    ------
    ValueError
        If it is none, or lies before the year 1 or after 9999 in UTC.
    """
    try:
        return datetime.fromisoformat(text.replace("Z", "+00:00")).astimezone(UTC)
    except OverflowError as error:
        raise ValueError(f'"{text[:40]}" is no time that there is') from error


def read_status(body: dict[str, Any]) -> ModelRolloutStatus:
    """The status of the object; an unreadable one is taken for an empty one, because everything in it can be found
    again."""
    try:
        return ModelRolloutStatus.model_validate(body.get("status") or {})
    except ValueError:
        return ModelRolloutStatus()


@dataclass(frozen=True, slots=True)
class Rollout:
    """A ModelRollout."""

    namespace: str
    name: str
    uid: str
    generation: int
    resource_version: str
    created: datetime
    deleting: bool
    finalizers: tuple[str, ...]
    spec: ModelRolloutSpec
    raw_spec: dict[str, Any]
    status: ModelRolloutStatus
    edited_by: str = ""
    """The field manager that wrote ``spec`` last, as far as the object says."""
    author: str = ""
    """Who last changed model, template, steps or gates, as the annotation says; true only where the policy in
    manifests/policies sees to it."""

    @classmethod
    def parse(cls, body: dict[str, Any], known: Rollout | None = None) -> Rollout:
        """From the object; ``known``: an earlier state of it, whose spec is taken over if it is the same generation.

        Raises
        ------
        ValueError
            If the spec is not what these models describe (pydantic's ValidationError is one).
        """
        metadata, generation = body["metadata"], body["metadata"].get("generation", 1)
        same = known is not None and (known.uid, known.generation) == (metadata["uid"], generation)
        return cls(
            namespace=metadata["namespace"],
            name=metadata["name"],
            uid=metadata["uid"],
            generation=generation,
            resource_version=metadata["resourceVersion"],
            created=parse_time(metadata["creationTimestamp"]),
            deleting="deletionTimestamp" in metadata,
            finalizers=tuple(metadata.get("finalizers") or ()),
            spec=known.spec if same and known else ModelRolloutSpec.model_validate(body["spec"]),
            raw_spec=known.raw_spec if same and known else body["spec"],
            status=read_status(body),
            edited_by=_last_editor(metadata),
            author=str((metadata.get("annotations") or {}).get(ANNOTATION_AUTHOR, "")),
        )

    @property
    def key(self) -> tuple[str, str]:
        """Namespace and name."""
        return self.namespace, self.name

    @property
    def port(self) -> int:
        """Port of the container that serves; admission made sure that it is known."""
        if self.spec.traffic.port is not None:
            return self.spec.traffic.port
        ports = [port for container in self.spec.workload.template.spec.containers for port in container.ports]
        return ports[0].container_port

    def owner_reference(self) -> dict[str, Any]:
        """For objects that go with the ModelRollout."""
        return {
            "apiVersion": "modelrollout.io/v1alpha1",
            "kind": "ModelRollout",
            "name": self.name,
            "uid": self.uid,
            "controller": True,
            "blockOwnerDeletion": False,
        }


def _last_editor(metadata: dict[str, Any]) -> str:
    entries = [one for one in metadata.get("managedFields") or [] if "f:spec" in (one.get("fieldsV1") or {})]
    entries.sort(key=lambda one: str(one.get("time", "")))
    return str(entries[-1].get("manager", "")) if entries else ""


@dataclass(frozen=True, slots=True)
class Decided:
    """A RolloutDecision that was not answered yet."""

    namespace: str
    name: str
    uid: str
    created: datetime
    spec: RolloutDecisionSpec

    @classmethod
    def parse(cls, body: dict[str, Any]) -> Decided | None:
        """From the object; None when it was answered."""
        if (body.get("status") or {}).get("state"):
            return None
        metadata = body["metadata"]
        return cls(
            namespace=metadata["namespace"],
            name=metadata["name"],
            uid=metadata["uid"],
            created=parse_time(metadata["creationTimestamp"]),
            spec=RolloutDecisionSpec.model_validate(body["spec"]),
        )


@dataclass(frozen=True, slots=True)
class Frozen:
    """A RolloutFreeze."""

    name: str
    reason: str
    author: str = ""
    until: datetime | None = None
    namespaces: frozenset[str] | None = None
    """None: everywhere."""

    @classmethod
    def parse(cls, body: dict[str, Any]) -> Frozen:
        """From the object. A freeze that cannot be read holds everywhere and without end: who stopped the line must
        not find it moving because of a slip of the pen."""
        name = str(body["metadata"]["name"])
        try:
            spec = RolloutFreezeSpec.model_validate(body["spec"])
            until = None if spec.until is None else parse_time(spec.until)
        except (ValueError, KeyError) as error:
            return cls(name, f"it cannot be read ({' '.join(str(error).split())[:200]})")
        return cls(
            name, spec.reason, spec.author, until, None if spec.namespaces is None else frozenset(spec.namespaces)
        )

    def holds_in(self, namespace: str) -> bool:
        """Whether it is meant for a namespace."""
        return self.namespaces is None or namespace in self.namespaces
