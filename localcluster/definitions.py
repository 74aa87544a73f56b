"""Installing the custom resource definitions of the Gateway API and of Contour."""

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from localcluster.api import ApiClient
from localcluster.errors import LocalClusterError

_KIND = re.compile(rb"^kind: *(\w+)", re.MULTILINE)
_SEPARATOR = re.compile(rb"^---[^\n]*$", re.MULTILINE)
_EXTENSIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_PATHS = {
    b"CustomResourceDefinition": _EXTENSIONS,
    b"ValidatingAdmissionPolicy": "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies",
    b"ValidatingAdmissionPolicyBinding": "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings",
}


def install(client: ApiClient, crds: Path) -> None:
    """Create them all, several at a time; the API server reads the YAML."""
    files = [*sorted((crds / "gateway-api" / "standard").glob("*.yaml")), crds / "contour" / "contour" / "01-crds.yaml"]
    documents = [document for file in files for document in split(file.read_bytes())]
    with ThreadPoolExecutor(max_workers=8) as pool:
        list(pool.map(lambda document: client.post_yaml(path_for(document), document), documents))


def split(content: bytes) -> Iterator[bytes]:
    """The documents of a YAML file, leaving out those that hold only comments."""
    for document in _SEPARATOR.split(content):
        if _KIND.search(document):
            yield document


def path_for(document: bytes) -> str:
    """The API path that a document is posted to."""
    match = _KIND.search(document)
    kind = match.group(1) if match else b""
    if kind not in _PATHS:
        raise LocalClusterError(f"unexpected kind {kind.decode()!r} among the definitions")
    return _PATHS[kind]
