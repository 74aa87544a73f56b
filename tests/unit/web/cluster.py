"""An API server in memory that knows some tokens and who may do what, and counts how often it is asked."""

from __future__ import annotations

import base64
import copy
import json
from typing import Any

from modelrollout.api.status import ModelRolloutStatus
from modelrollout.kube.client import KubeError
from tests.unit.cli.states import STATES

Body = dict[str, Any]
Key = tuple[str, str]


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def jwt(audience: str, name: str) -> str:
    """A token that says for whom it is meant; the signature is for the API server to check."""
    parts = ({"alg": "none"}, {"aud": [audience], "sub": name})
    return ".".join(base64.urlsafe_b64encode(json.dumps(one).encode()).decode().rstrip("=") for one in parts) + ".x"


class Reviews:
    """Answers TokenReviews and SubjectAccessReviews."""

    def __init__(self) -> None:
        self.people = {"alice-token": "alice", "bob-token": "bob", "root-token": "root"}
        self.asked: list[Body] = []
        self.broken: KubeError | None = None

    async def create(self, path: str, body: Body) -> Body:
        if self.broken is not None:
            raise self.broken
        self.asked.append(body)
        spec = body["spec"]
        if path.endswith("tokenreviews"):
            name = self.people.get(spec["token"])
            user = {"user": {"username": name, "groups": ["g"]}} if name else {}
            return {"status": {"authenticated": bool(name), "audiences": spec.get("audiences", [])} | user}
        about = spec["resourceAttributes"]
        everything = spec["user"] == "root"
        own = about.get("namespace") == {"alice": "recs", "bob": "ads"}.get(spec["user"])
        return {"status": {"allowed": everything or (own and about["resource"] == "modelrollouts")}}

    def count(self, kind: str) -> int:
        return sum(body["kind"] == kind for body in self.asked)


class Known:
    """Rollouts in memory: recs/ranker and ads/banner."""

    def __init__(self) -> None:
        self.bodies: dict[Key, Body] = {}
        for namespace, name in (("recs", "ranker"), ("ads", "banner")):
            body = copy.deepcopy(STATES["breached"][0])
            body["metadata"] |= {"namespace": namespace, "name": name}
            self.bodies[namespace, name] = body
        self.now: ModelRolloutStatus | None = None

    def every(self) -> list[Key]:
        return list(self.bodies)

    def rollout(self, key: Key) -> Body | None:
        return self.bodies.get(key)

    def live(self, key: Key, uid: str) -> ModelRolloutStatus | None:
        return self.now

    def deployments(self, key: Key) -> list[Body]:
        return list(STATES["breached"][1] or [])
