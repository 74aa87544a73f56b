"""What the operator knows of its own resources: the latest ModelRollouts and the decisions about them.

Fed by kopf's watch events, and by the answers to our own writes, which arrive sooner. The *live* status of a rollout is
the one that the last decision left: numbers change at every look, but are written to the API server far less often.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from typing import Any, Final

from modelrollout.api.objects import Decided, Rollout, read_status
from modelrollout.api.status import DecidedBy, ModelRolloutStatus

__all__ = ["Key", "Store"]

_log = logging.getLogger(__name__)

Body = dict[str, Any]
Key = tuple[str, str]

_REMEMBERED_DEAD: Final = 256


class Store:
    """In-memory; everything in it can be found again in the cluster."""

    def __init__(self) -> None:
        self._rollouts: dict[Key, Body] = {}
        self._routed: dict[Key, dict[Key, None]] = {}
        """Which ModelRollouts use an HTTPRoute, by its namespace and name."""
        self._parsed: dict[Key, tuple[Body, Rollout]] = {}
        self._live: dict[Key, tuple[str, ModelRolloutStatus]] = {}
        self._decisions: dict[Key, dict[str, Body]] = {}
        self._dead: OrderedDict[str, None] = OrderedDict()

    def put(self, body: Body) -> bool:
        """Remember a ModelRollout; whether anything but its status is new, or another process wrote that."""
        body = _without_details(body)
        metadata = body["metadata"]
        key = (metadata["namespace"], metadata["name"])
        before = self._rollouts.get(key)
        if metadata["uid"] in self._dead or (before is not None and _older(body, before)):
            return False
        if before is not None:
            self._unroute(key, before)
        self._rollouts[key] = body
        self._routed.setdefault(_route_of(key, body), {})[key] = None
        if before is None or before["metadata"]["uid"] != metadata["uid"]:
            self._live.pop(key, None)
            return True
        return _judged_fields(before) != _judged_fields(body)

    def drop(self, key: Key, uid: str) -> None:
        """Forget a ModelRollout that is gone; answers to our last writes about it may still be on their way."""
        self._dead[uid] = None
        while len(self._dead) > _REMEMBERED_DEAD:
            self._dead.popitem(last=False)
        known = self._rollouts.get(key)
        if known is not None and known["metadata"]["uid"] == uid:
            self._unroute(key, self._rollouts.pop(key))
            self._live.pop(key, None)
            self._parsed.pop(key, None)

    def _unroute(self, key: Key, body: Body) -> None:
        route = _route_of(key, body)
        users = self._routed[route]
        del users[key]
        if not users:
            del self._routed[route]

    def routed(self, route: Key) -> list[Key]:
        """Every ModelRollout that uses an HTTPRoute."""
        return list(self._routed.get(route, ()))

    def rollout(self, key: Key) -> Body | None:
        """The latest ModelRollout."""
        return self._rollouts.get(key)

    def parsed(self, key: Key) -> Rollout | None:
        """The latest ModelRollout, read; once for each state of it, and its spec once for each generation.

        Raises
        ------
        ValueError
            If the spec cannot be read; see :meth:`modelrollout.api.objects.Rollout.parse`.
        """
        body = self._rollouts.get(key)
        if body is None:
            return None
        of, known = self._parsed.get(key, (None, None))
        if known is None or of is not body:
            known = Rollout.parse(body, known)
            self._parsed[key] = (body, known)
        return known

    def every(self) -> list[Key]:
        """Every ModelRollout."""
        return list(self._rollouts)

    def asked_about(self) -> list[Key]:
        """Every ModelRollout that is there, or that a decision names."""
        return list(dict.fromkeys([*self._rollouts, *self._decisions]))

    def last_decider(self) -> DecidedBy | None:
        """Of the processes that wrote the statuses, the one of the highest epoch."""
        found = [one for body in self._rollouts.values() if (one := read_status(body).decided_by) is not None]
        return max(found, key=lambda one: one.epoch, default=None)

    def renew(self, rollouts: tuple[list[Body], int], decisions: tuple[list[Body], int]) -> None:
        """Take in lists that were asked for just now, each with its resourceVersion: also what is gone."""
        bodies, version = rollouts
        there = {body["metadata"]["uid"] for body in bodies}
        for key, body in list(self._rollouts.items()):
            if body["metadata"]["uid"] not in there and _version(body) <= version:
                self.drop(key, body["metadata"]["uid"])
        for body in bodies:
            self.put(body)
        answered = {key: dict(known) for key, known in self._decisions.items()}
        for key, known in answered.items():
            for name, body in known.items():
                if _version(body) <= decisions[1]:
                    self.drop_decision(key, name)
        for body in decisions[0]:
            self.put_decision(body)

    def forget_decided(self) -> None:
        """Forget what the decisions of an earlier term left; what stands in the cluster counts."""
        self._live = {}

    def keys(self, namespace: str | None) -> list[Key]:
        """Every ModelRollout of a namespace; of all of them for None."""
        return [key for key in self._rollouts if namespace in (None, key[0])]

    def live(self, key: Key, uid: str) -> ModelRolloutStatus | None:
        """The status that the last decision about this very object left."""
        known = self._live.get(key)
        return known[1] if known is not None and known[0] == uid else None

    def set_live(self, key: Key, uid: str, status: ModelRolloutStatus) -> None:
        """Remember what the last decision left."""
        self._live[key] = (uid, status)

    def put_decision(self, body: Body) -> Key:
        """Remember a RolloutDecision; the rollout that it is about."""
        metadata = body["metadata"]
        key = (metadata["namespace"], body["spec"]["rollout"])
        if (body.get("status") or {}).get("state"):
            self.drop_decision(key, metadata["name"])
        else:
            self._decisions.setdefault(key, {})[metadata["name"]] = body
        return key

    def drop_decision(self, key: Key, name: str) -> None:
        """Forget a decision that was answered or is gone."""
        about = self._decisions.get(key, {})
        about.pop(name, None)
        if not about:
            self._decisions.pop(key, None)

    def decisions(self, key: Key) -> list[Decided]:
        """Decisions about a rollout that were not answered yet, in the order in which they were created."""
        found = []
        waiting = sorted(self._decisions.get(key, {}).items(), key=lambda item: _version(item[1]))
        for name, body in waiting:
            try:
                decided = Decided.parse(body)
            except ValueError as error:
                _log.warning("%s/%s: this operator cannot read the decision %s: %s", *key, name, error)
                self.drop_decision(key, name)
                continue
            if decided is not None:
                found.append(decided)
        return found


def _route_of(key: Key, body: Body) -> Key:
    route = body["spec"].get("traffic", {}).get("gatewayAPI", {}).get("route") or {}
    return key[0], route.get("name", key[1])


def _without_details(body: Body) -> Body:
    """The object with only that of its managedFields which tells who wrote the spec: the rest is most of its size."""
    writers = [
        {"manager": one.get("manager", ""), "time": one.get("time", ""), "fieldsV1": {"f:spec": {}}}
        for one in body["metadata"].get("managedFields") or []
        if "f:spec" in (one.get("fieldsV1") or {})
    ]
    metadata = {name: value for name, value in body["metadata"].items() if name != "managedFields"}
    return body | {"metadata": metadata | ({"managedFields": writers} if writers else {})}


def _version(body: Body) -> int:
    """A resourceVersion as a number; those of one resource are comparable integers (KEP-5504)."""
    text = str(body["metadata"].get("resourceVersion", ""))
    return int(text) if text.isdigit() else 0


def _older(body: Body, known: Body) -> bool:
    """Whether a watch event brings a state from before one that our own write already returned."""
    same = known["metadata"]["uid"] == body["metadata"]["uid"]
    return bool(same and 0 < _version(body) < _version(known))


def _judged_fields(body: Body) -> tuple[object, ...]:
    metadata = body["metadata"]
    return (
        metadata.get("generation"),
        metadata.get("deletionTimestamp"),
        tuple(metadata.get("finalizers") or ()),
        (body.get("status") or {}).get("decidedBy"),
    )
