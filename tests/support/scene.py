"""One ModelRollout in one namespace, seen as its people see it: apply, look, wait, decide, send requests."""

from __future__ import annotations

import copy
import functools
import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import yaml

from localcluster import LocalCluster, eventually
from localcluster.api import ApiClient, ApiError
from tests.support import manifests
from tests.support.users import Users

Body = dict[str, Any]

_PATHS = {
    "modelrollouts": "/apis/modelrollout.io/v1alpha1",
    "rolloutdecisions": "/apis/modelrollout.io/v1alpha1",
    "rolloutincidents": "/apis/modelrollout.io/v1alpha1",
    "deployments": "/apis/apps/v1",
    "replicasets": "/apis/apps/v1",
    "services": "/api/v1",
    "pods": "/api/v1",
    "events": "/api/v1",
    "httproutes": "/apis/gateway.networking.k8s.io/v1",
}


@functools.lru_cache(maxsize=2)
def _client(kubeconfig: Path, ca_file: Path) -> ApiClient:
    """A client that costs no process: tests look often."""
    config = yaml.safe_load(kubeconfig.read_text(encoding="utf-8"))
    return ApiClient(config["clusters"][0]["cluster"]["server"], ca_file, config["users"][0]["user"]["token"])


def api(cluster: LocalCluster) -> ApiClient:
    """The API server, as administrator."""
    return _client(cluster.kubeconfig, cluster.ca_file)


def changed(**fields: Any) -> Callable[[Body], None]:
    """A change of a spec: mappings are merged, everything else is replaced."""

    def change(spec: Body) -> None:
        for name, value in fields.items():
            merged = isinstance(value, dict) and isinstance(spec.get(name), dict)
            spec[name] = spec[name] | value if merged else copy.deepcopy(value)

    return change


def together(*works: Callable[[], object]) -> None:
    """Do several things side by side; the first failure is raised when all have ended."""
    with ThreadPoolExecutor(len(works)) as pool:
        for done in [pool.submit(work) for work in works]:
            done.result()


def let_pass(seconds: float) -> None:
    """Let time pass, where that is the point of a test and there is nothing to wait for."""
    threading.Event().wait(seconds)


class Scene:
    """See the module."""

    def __init__(self, cluster: LocalCluster, namespace: str, name: str = "ranker") -> None:
        self.cluster, self.namespace, self.name = cluster, namespace, name
        self.host = manifests.host(namespace, name)

    def apply(self, version: str, *, change: Callable[[Body], None] | None = None, **env: str) -> None:
        """``kubectl apply`` the ModelRollout with this model version; ``change`` may edit its spec."""
        manifests.apply(self.cluster, self.manifest(version, change=change, **env))

    def manifest(self, version: str, *, change: Callable[[Body], None] | None = None, **env: str) -> Body:
        """The ModelRollout as it would be applied."""
        body = manifests.rollout(self.namespace, version=version, name=self.name, **env)
        if change is not None:
            change(body["spec"])
        return body

    def kubectl(self, *arguments: str, **more: Any) -> str:
        """kubectl in the namespace; what it printed."""
        return self.cluster.kubectl("-n", self.namespace, *arguments, **more).stdout

    def get(self, kind: str, name: str) -> Body:
        """One object; empty when it is not there."""
        try:
            return api(self.cluster).get(f"{_PATHS[kind]}/namespaces/{self.namespace}/{kind}/{name}")
        except ApiError as error:
            if error.status == 404:
                return {}
            raise

    def every(self, kind: str) -> list[Body]:
        """Every object of a kind in the namespace."""
        return list(api(self.cluster).get(f"{_PATHS[kind]}/namespaces/{self.namespace}/{kind}")["items"])

    @property
    def rollout(self) -> Body:
        """The ModelRollout."""
        return self.get("modelrollouts", self.name)

    @property
    def status(self) -> Body:
        """Its status."""
        return dict(self.rollout.get("status") or {})

    @property
    def route(self) -> Body:
        """Its HTTPRoute."""
        return self.get("httproutes", self.name)

    @property
    def weights(self) -> dict[str, int]:
        """Weights on its own HTTPRoute, by Service."""
        rules = self.route.get("spec", {}).get("rules") or [{}]
        return {one["name"]: one["weight"] for one in rules[0].get("backendRefs") or []}

    def revision(self, version: str) -> str:
        """Hash of the revision that carries a model version."""
        for one in self.every("deployments"):
            metadata = one["metadata"]
            mine = metadata.get("labels", {}).get("modelrollout.io/name") == self.name
            if mine and metadata["annotations"]["modelrollout.io/version"] == version:
                return str(metadata["labels"]["modelrollout.io/revision"])
        raise AssertionError(f"no Deployment of version {version}")

    def deployment(self, version: str) -> Body:
        """The Deployment of a model version."""
        return self.get("deployments", f"{self.name}-{self.revision(version)}")

    def condition(self, kind: str) -> Body:
        """One condition of the status."""
        return next((one for one in self.status.get("conditions") or [] if one["type"] == kind), {})

    def events(self) -> list[tuple[str, str]]:
        """Reason and message of the events about the ModelRollout, in order."""
        found = [one for one in self.every("events") if one["involvedObject"]["kind"] == "ModelRollout"]
        mine = [one for one in found if one["involvedObject"]["name"] == self.name]
        return [(one["reason"], one["message"]) for one in sorted(mine, key=lambda one: str(one["eventTime"]))]

    def until(self, check: Callable[[Body], object], what: str, *, timeout: float = 60.0) -> Body:
        """Wait until the status is as wanted; the status."""

        def there() -> Body:
            found = self.status
            assert check(found), " ".join(str(found.get(key)) for key in ("phase", "reason", "weight", "message"))
            return found

        return eventually(there, what, timeout=timeout, interval=0.15, errors=(AssertionError, OSError, LookupError))

    def reach(self, phase: str, *, version: str | None = None, reason: str = "", timeout: float = 60.0) -> Body:
        """Wait for a phase (of a stable version, for a reason); the status."""

        def there(found: Body) -> bool:
            return (
                found.get("phase") == phase
                and (not reason or found["reason"] == reason)
                and (version is None or found["stable"]["version"] == version)
                and found["observedGeneration"] == self.rollout["metadata"]["generation"]
            )

        return self.until(there, f"phase {phase} {reason} {version or ''}", timeout=timeout)

    def at_weight(self, weight: int, *, timeout: float = 60.0) -> Body:
        """Wait until the candidate has this weight in effect; the status."""
        return self.until(
            lambda s: s.get("weight") == weight and s.get("observedWeight") == weight,
            f"weight {weight} in effect",
            timeout=timeout,
        )

    def serve_first(self, version: str = "1", **more: Any) -> Body:
        """Apply the first version and wait until it serves; the status."""
        self.apply(version, **more)
        return self.reach("Stable", version=version)

    def decide(self, action: str, **fields: Any) -> str:
        """Create a RolloutDecision; its name."""
        body = {
            "apiVersion": "modelrollout.io/v1alpha1",
            "kind": "RolloutDecision",
            "metadata": {"generateName": f"{self.name}-{action}-", "namespace": self.namespace},
            "spec": {"rollout": self.name, "action": action, "author": "kim"} | fields,
        }
        made = self.kubectl("create", "-f", "-", "-o", "json", input=json.dumps(body))
        return str(json.loads(made)["metadata"]["name"])

    def answer(self, decision: str) -> Body:
        """Wait for what became of a decision."""
        return eventually(
            lambda: self.get("rolloutdecisions", decision).get("status") or {}, f"an answer to {decision}", timeout=30
        )

    def users(self, per_second: float = 30.0) -> Users:
        """Users who call it through the gateway."""
        return Users(self.cluster.gateway_url, self.host, per_second=per_second)
