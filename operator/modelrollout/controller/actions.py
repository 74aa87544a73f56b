"""Carrying out what was decided: one short function for each kind of action, all of them safe to repeat."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from modelrollout.api.meta import EXTERNAL, FINALIZER
from modelrollout.api.objects import Rollout
from modelrollout.api.status import ModelRolloutStatus
from modelrollout.controller.parts import Parts
from modelrollout.engine.fitting import fitted
from modelrollout.engine.model import (
    Action,
    Answer,
    Autoscale,
    Create,
    Delete,
    RecordIncident,
    ReplacePod,
    Scale,
    SetFinalizer,
    SetRole,
    SetWeights,
)
from modelrollout.kube.client import DECISIONS, ROLLOUTS, KubeError, NotFound
from modelrollout.kube.limits import Lane
from modelrollout.telemetry import meters

__all__ = ["Actions", "RolloutGoneError"]

_log = logging.getLogger(__name__)


class RolloutGoneError(Exception):
    """The ModelRollout was deleted, or another one has its name now."""


class Actions:
    """The operator's hands."""

    def __init__(self, parts: Parts) -> None:
        self._at = parts

    async def carry_out(self, rollout: Rollout, action: Action, *, there: bool = False) -> None:
        """Do one thing. ``there``: the API server has just said that the ModelRollout is.

        Raises
        ------
        KubeError
            If the API server refuses or cannot be reached; the next decision derives the action again.
        RolloutGoneError
            If the ModelRollout is not there any more.
        """
        await self._do(rollout, action, there=there)
        _log.info("%s/%s: done: %s", *rollout.key, action)

    async def _do(self, rollout: Rollout, action: Action, *, there: bool) -> None:
        match action:
            case SetWeights():
                marker = replace(action.marker, epoch=self._at.term.epoch)
                await self._at.traffic.apply(rollout, replace(action, marker=marker))
            case Create():
                if not there:
                    await self._still_there(rollout)
                await self._at.workload.create(rollout, action.revision, action.role, action.replicas)
            case Scale(revision=revision) if revision == EXTERNAL:
                await self._at.adopted.scale(rollout, action.replicas)
            case Scale():
                await self._at.workload.scale(rollout, action.revision, action.replicas)
            case Autoscale():
                await self._at.workload.autoscale(rollout, action.revision, action.autoscaler)
            case SetRole():
                await self._at.workload.set_role(rollout, action.revision, action.role, action.at)
            case ReplacePod():
                await self._replace_pod(rollout, action)
            case Delete():
                await self._at.workload.delete(rollout, action.revision)
            case SetFinalizer():
                await self._set_finalizer(rollout, action.present)
            case RecordIncident():
                await self._at.incidents.record(rollout, action)
            case Answer():
                await self.answer(rollout.key, action)

    async def _replace_pod(self, rollout: Rollout, action: ReplacePod) -> None:
        """A refusal must not stand in the way of anything: what is breached again without the pod's end counts."""
        try:
            await self._at.workload.replace_pod(rollout, action.revision, action.pod)
        except KubeError as error:
            _log.warning("%s/%s: pod %s could not be replaced: %s", *rollout.key, action.pod, error)

    async def write_status(self, rollout: Rollout, status: ModelRolloutStatus) -> None:
        """Write the whole status; it is the operator's alone, so nothing of others can be lost. One that another
        process of it wrote meanwhile is not written over.

        Raises
        ------
        RolloutGoneError
            If the object is gone, or another one has its name.
        ConflictError
            If another process wrote a status since.
        """
        await self._write_status(rollout, status, self._unchanged(rollout.key), Lane.STATUS)

    async def write_numbers(self, rollout: Rollout, status: ModelRolloutStatus) -> None:
        """Write a status of which only numbers changed, unless the object is newer than what is known of it.

        Raises
        ------
        ConflictError
            If it is newer.
        RolloutGoneError
            If the object is gone.
        """
        same = {"op": "test", "path": "/metadata/resourceVersion", "value": self._version(rollout)}
        await self._write_status(rollout, status, [same], Lane.NUMBERS)

    async def _write_status(
        self, rollout: Rollout, status: ModelRolloutStatus, tests: list[dict[str, Any]], lane: Lane
    ) -> None:
        status = fitted(status.model_copy(update={"decided_by": self._at.term.by}))
        ops: list[dict[str, Any]] = [
            {"op": "test", "path": "/metadata/uid", "value": rollout.uid},
            *tests,
            {"op": "add", "path": "/status", "value": status.model_dump(mode="json", by_alias=True, exclude_none=True)},
        ]
        try:
            path = ROLLOUTS.path(rollout.namespace, rollout.name, "status")
            self._at.store.put(await self._at.kube.json_patch(path, ops, lane=lane))
        except NotFound as error:
            raise RolloutGoneError from error

    def _unchanged(self, key: tuple[str, str]) -> list[dict[str, Any]]:
        """The test that the status is still of the epoch that was seen last; before there is one, the whole object's
        version stands for it."""
        body = self._at.store.rollout(key) or {}
        epoch = ((body.get("status") or {}).get("decidedBy") or {}).get("epoch")
        if epoch is not None:
            return [{"op": "test", "path": "/status/decidedBy/epoch", "value": epoch}]
        version = (body.get("metadata") or {}).get("resourceVersion")
        return [{"op": "test", "path": "/metadata/resourceVersion", "value": version}] if version else []

    async def _still_there(self, rollout: Rollout) -> None:
        """Nothing is created for an object that vanished while a watch was broken."""
        try:
            found = await self._at.kube.get(ROLLOUTS.path(rollout.namespace, rollout.name))
        except NotFound as error:
            raise RolloutGoneError from error
        if found["metadata"]["uid"] != rollout.uid:
            raise RolloutGoneError

    async def _set_finalizer(self, rollout: Rollout, present: bool) -> None:
        others = [one for one in rollout.finalizers if one != FINALIZER]
        ops: list[dict[str, Any]] = [
            {"op": "test", "path": "/metadata/resourceVersion", "value": self._version(rollout)},
            {"op": "add", "path": "/metadata/finalizers", "value": [*others, FINALIZER] if present else others},
        ]
        try:
            self._at.store.put(await self._at.kube.json_patch(ROLLOUTS.path(rollout.namespace, rollout.name), ops))
        except NotFound as error:
            raise RolloutGoneError from error

    def _version(self, rollout: Rollout) -> str:
        body = self._at.store.rollout(rollout.key)
        return str(body["metadata"]["resourceVersion"]) if body is not None else rollout.resource_version

    async def answer(self, key: tuple[str, str], answer: Answer) -> None:
        """Say on a decision about a rollout what became of it, and what was seen; the log keeps the whole of it."""
        at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        status: dict[str, Any] = {"state": str(answer.state), "message": answer.message[:1024], "at": at}
        status |= {"verified": not answer.unverified}
        status |= {"unverifiedBecause": answer.unverified[:1024]} if answer.unverified else {}
        if answer.seen is not None:
            status |= {"seen": answer.seen.model_dump(mode="json", by_alias=True, exclude_none=True)}
        path = DECISIONS.path(key[0], answer.name, "status")
        try:
            whole = await self._at.kube.merge_patch(path, {"status": status})
            meters.PEOPLE_SAID.labels(str(answer.state)).inc()
            archived = {"name": answer.name, "spec": whole.get("spec"), "status": whole.get("status")}
            _log.info("%s/%s: decision on record: %s", *key, json.dumps(archived, ensure_ascii=False))
        except NotFound:
            _log.info("%s/%s: the decision %s was deleted before it was answered", *key, answer.name)
        self._at.store.drop_decision(key, answer.name)
