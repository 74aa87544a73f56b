"""The demo's manifests with the few edits that a release or another cluster needs.

The files in ``manifests/`` can be applied as they are to a cluster that has the image and a ConfigMap of the
artifacts. A local cluster has neither images nor volumes: its pods read the artifacts where training wrote them.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from demo.versions import Version
from localcluster import GatewayRef

__all__ = ["NAMESPACE", "ROLLOUT", "Rendering"]

NAMESPACE: Final = "recs"
ROLLOUT: Final = "ranker"
_MANIFESTS: Final = Path(__file__).parent / "manifests"
_MOUNT: Final = "file:///artifacts"


@dataclass(frozen=True)
class Rendering:
    """How the manifests are to be made for one cluster."""

    artifacts: Path
    gateway_url: str
    users_per_second: float
    gateway: GatewayRef
    image: str | None = None
    """Image of the pods; None where pods are processes on this machine."""

    def recs(self) -> list[dict[str, Any]]:
        """The namespace, the artifacts and the frontend."""
        objects = self._read("recs.yaml")
        frontend = next(item for item in objects if item["kind"] == "Deployment")["spec"]["template"]["spec"]
        _set(frontend, {"GATEWAY_URL": self.gateway_url, "USERS_PER_SECOND": f"{self.users_per_second:g}"})
        self._place(frontend)
        if self.image is not None:
            objects.insert(1, self._config_map())
        return objects

    def ranker(self, version: Version) -> dict[str, Any]:
        """The ModelRollout that names this version."""
        (rollout,) = self._read("ranker.yaml")
        spec = rollout["spec"]
        spec["model"] = {"version": version.name, "uri": f"{self._root}/{version.name}.npz"}
        pod = spec["workload"]["template"]["spec"]
        parent = {"name": self.gateway.name, "namespace": self.gateway.namespace}
        spec["traffic"]["gatewayAPI"]["parentRefs"] = [parent]
        _set(pod, version.environment)
        self._place(pod)
        found: dict[str, Any] = rollout
        return found

    @property
    def _root(self) -> str:
        return _MOUNT if self.image is not None else self.artifacts.absolute().as_uri()

    def _read(self, name: str) -> list[dict[str, Any]]:
        text = (_MANIFESTS / name).read_text(encoding="utf-8").replace(f"{_MOUNT}/", f"{self._root}/")
        return list(yaml.safe_load_all(text))

    def _place(self, pod: dict[str, Any]) -> None:
        (container,) = pod["containers"]
        if self.image is not None:
            container["image"] = self.image
            return
        del pod["volumes"]
        del container["volumeMounts"]

    def _config_map(self) -> dict[str, Any]:
        return {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "artifacts", "namespace": NAMESPACE},
            "binaryData": {
                path.name: base64.b64encode(path.read_bytes()).decode() for path in self.artifacts.glob("*.npz")
            },
        }


def _set(pod: dict[str, Any], environment: Any) -> None:
    """Set variables of the pod's container, in place of those of the same name."""
    (container,) = pod["containers"]
    kept = [entry for entry in container["env"] if entry["name"] not in environment]
    container["env"] = kept + [{"name": name, "value": value} for name, value in environment.items()]


def as_json(objects: list[dict[str, Any]]) -> str:
    """Objects as one List for ``kubectl apply -f -``."""
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
