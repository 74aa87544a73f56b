"""What a pod needs from the API server before it can start: ConfigMaps, Secrets and its own token."""

import asyncio
import base64
from pathlib import Path
from typing import Any

import yaml

from localcluster import kubeconfig
from localcluster.node import client as api
from localcluster.node import environment

_NOT_FOUND = 404
_TRY_AGAIN = (409, 429)
_RETRY_SECONDS = 0.5
_TOKEN_SECONDS = 7 * 24 * 3600


class Resources:
    """Fetches them, and keeps the pod's private folder."""

    def __init__(self, client: api.Client, pod: dict[str, Any], folder: Path) -> None:
        self._client = client
        self._pod = pod
        self._namespace = pod["metadata"]["namespace"]
        self.folder = folder

    async def prepare(self, container: dict[str, Any], pod_ip: str) -> dict[str, str]:
        """Make the folder and return the container's variables; waits while the API server is away."""
        self.folder.mkdir(parents=True, exist_ok=True)
        found: dict[tuple[str, str], dict[str, str]] = {}
        for kind, plural in (("configMapKeyRef", "configmaps"), ("secretKeyRef", "secrets")):
            for name in _referenced_names(container, kind):
                found[kind, name] = await self._data(plural, name)
        variables = environment.variables(
            self._pod,
            container,
            pod_ip,
            lambda name, key: found["configMapKeyRef", name].get(key),
            lambda name, key: found["secretKeyRef", name].get(key),
        )
        base = {"HOME": str(self.folder), "TMPDIR": str(self.folder)}
        return {**base, **await self._token_variables(), **variables}

    async def _data(self, plural: str, name: str) -> dict[str, str]:
        answer = await self._ask("GET", f"/api/v1/namespaces/{self._namespace}/{plural}/{name}")
        data = (answer or {}).get("data") or {}
        if plural == "secrets":
            return {key: base64.b64decode(value).decode() for key, value in data.items()}
        return {key: str(value) for key, value in data.items()}

    async def _token_variables(self) -> dict[str, str]:
        """A kubeconfig with the ServiceAccount's token, where the Pod asks for the token to be mounted."""
        if not _mounts_token(self._pod):
            return {"KUBECONFIG": "/dev/null"}
        target = self.folder / "kubeconfig"
        if not target.exists():
            metadata = self._pod["metadata"]
            bound = {"kind": "Pod", "apiVersion": "v1", "name": metadata["name"], "uid": metadata["uid"]}
            account = self._pod["spec"].get("serviceAccountName") or "default"
            path = f"/api/v1/namespaces/{self._namespace}/serviceaccounts/{account}/token"
            spec = {"expirationSeconds": _TOKEN_SECONDS, "boundObjectRef": bound}
            answer = await self._ask("POST", path, {"spec": spec})
            if answer is None:
                raise environment.InvalidReferenceError(f"no ServiceAccount {account!r}, or the Pod is gone")
            config = kubeconfig.document(
                self._client.server, self._client.ca_data.encode(), answer["status"]["token"], self._namespace
            )
            target.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
        return {"KUBECONFIG": str(target)}

    async def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any] | None:
        """The answer, or None when there is no such object; what is refused for good is the pod's to say."""
        while True:
            try:
                return await self._client.request(method, path, body)
            except api.ApiError as error:
                if error.status == _NOT_FOUND:
                    return None
                if 400 <= error.status < 500 and error.status not in _TRY_AGAIN:
                    raise environment.InvalidReferenceError(f"{method} {path}: {error}") from error
            except api.TRANSIENT:
                pass  # it is away, and the pod waits for it
            await asyncio.sleep(_RETRY_SECONDS)


def _referenced_names(container: dict[str, Any], kind: str) -> set[str]:
    sources = [entry.get("valueFrom") or {} for entry in container.get("env") or ()]
    return {source[kind]["name"] for source in sources if kind in source}


def _mounts_token(pod: dict[str, Any]) -> bool:
    for volume in pod["spec"].get("volumes") or ():
        for source in (volume.get("projected") or {}).get("sources") or ():
            if "serviceAccountToken" in source:
                return True
    return False
