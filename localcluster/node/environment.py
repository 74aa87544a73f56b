"""The environment, command and probes of a container, worked out of its Pod object; no input or output."""

import re
from collections.abc import Callable, Mapping
from typing import Any

Lookup = Callable[[str, str], str | None]
"""Finds a value by (name of the ConfigMap or Secret, key); None when there is none."""

_REFERENCE = re.compile(r"\$\$|\$\(([A-Za-z_][A-Za-z0-9_.-]*)\)")
_SUBSCRIPT = re.compile(r"^metadata\.(labels|annotations)\['(.+)'\]$")


class InvalidReferenceError(Exception):
    """The Pod refers to something that does not exist or is not supported."""


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Replace ``$(NAME)`` as Kubernetes does: unknown names stay as they are, ``$$`` is one dollar sign."""

    def replacement(match: re.Match[str]) -> str:
        name = match.group(1)
        if name is None:
            return "$"
        return variables.get(name, match.group(0))

    return _REFERENCE.sub(replacement, text)


def field(pod: Mapping[str, Any], path: str, pod_ip: str) -> str:
    """The value of a ``fieldRef``."""
    metadata = pod["metadata"]
    subscript = _SUBSCRIPT.match(path)
    if subscript:
        return str((metadata.get(subscript.group(1)) or {}).get(subscript.group(2), ""))
    values = {
        "metadata.name": metadata["name"],
        "metadata.namespace": metadata["namespace"],
        "metadata.uid": metadata["uid"],
        "spec.nodeName": pod["spec"].get("nodeName", ""),
        "spec.serviceAccountName": pod["spec"].get("serviceAccountName", ""),
        "status.podIP": pod_ip,
        "status.podIPs": pod_ip,
    }
    if path not in values:
        raise InvalidReferenceError(f"this node does not know the fieldRef {path!r}")
    return str(values[path])


def variables(
    pod: Mapping[str, Any], container: Mapping[str, Any], pod_ip: str, config_map: Lookup, secret: Lookup
) -> dict[str, str]:
    """The variables a container asks for, in order, each able to use the ones before it."""
    found: dict[str, str] = {}
    for entry in container.get("env") or ():
        source = entry.get("valueFrom")
        if not source:
            found[entry["name"]] = expand(entry.get("value", ""), found)
        elif "fieldRef" in source:
            found[entry["name"]] = field(pod, source["fieldRef"]["fieldPath"], pod_ip)
        else:
            value = _referenced(source, config_map, secret)
            if value is not None:
                found[entry["name"]] = value
    return found


def _referenced(source: Mapping[str, Any], config_map: Lookup, secret: Lookup) -> str | None:
    for kind, lookup in (("configMapKeyRef", config_map), ("secretKeyRef", secret)):
        if kind in source:
            reference = source[kind]
            value = lookup(reference["name"], reference["key"])
            if value is None and not reference.get("optional"):
                raise InvalidReferenceError(f"{kind}: no key {reference['key']!r} in {reference['name']!r}")
            return value
    raise InvalidReferenceError(f"this node does not know the variable source {sorted(source)}")


def command_line(container: Mapping[str, Any], values: Mapping[str, str]) -> list[str]:
    """``command`` and ``args`` with ``$(NAME)`` replaced; there is no image whose entry point could stand in."""
    words = [*(container.get("command") or ()), *(container.get("args") or ())]
    if not words:
        raise InvalidReferenceError("no command: this node has no images, so a container must say what to run")
    return [expand(word, values) for word in words]


def port_number(container: Mapping[str, Any], port: int | str) -> int:
    """A probe's port: a number, or the name of one of the container's ports."""
    if isinstance(port, int):
        return port
    if port.isdigit():
        return int(port)
    for entry in container.get("ports") or ():
        if entry.get("name") == port:
            return int(entry["containerPort"])
    raise InvalidReferenceError(f"the container has no port named {port!r}")


def image_exists(image: str) -> bool:
    """Every image "exists", its name being ignored, but those of the registry ``missing.example``."""
    return not image.startswith("missing.example/")
