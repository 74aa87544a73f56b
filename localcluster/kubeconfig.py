"""Writing kubeconfig files: one cluster, one user, one context, self-contained."""

import base64
import json
import os
from pathlib import Path
from typing import Any

CONTEXT = "modelrollout-local"
# The API server's own certificate carries this name, so a client may reach it under any address.
TLS_SERVER_NAME = "kubernetes"


def write(path: Path, *, server: str, ca_file: Path, token: str, namespace: str = "default") -> Path:
    """Write a kubeconfig that only its owner can read, all at once, and return its path."""
    content = json.dumps(document(server, ca_file.read_bytes(), token, namespace), indent=2)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(content)
    draft.replace(path)
    return path


def document(server: str, ca: bytes, token: str, namespace: str) -> dict[str, Any]:
    """The content of such a file."""
    cluster = {
        "server": server,
        "tls-server-name": TLS_SERVER_NAME,
        "certificate-authority-data": base64.b64encode(ca).decode(),
    }
    context = {"cluster": "local", "user": "local", "namespace": namespace}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": CONTEXT,
        "clusters": [{"name": "local", "cluster": cluster}],
        "users": [{"name": "local", "user": {"token": token}}],
        "contexts": [{"name": CONTEXT, "context": context}],
    }
