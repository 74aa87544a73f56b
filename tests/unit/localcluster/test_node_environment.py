"""A container's environment and command, as worked out of its Pod."""

from typing import Any

import pytest

from localcluster.node import environment
from localcluster.node.environment import InvalidReferenceError

POD: dict[str, Any] = {
    "metadata": {
        "name": "ranker-1",
        "namespace": "shop",
        "uid": "u-1",
        "labels": {"app": "ranker"},
        "annotations": {"modelrollout.io/revision": "r2"},
    },
    "spec": {"nodeName": "local-node", "serviceAccountName": "default"},
}


def nothing(_name: str, _key: str) -> str | None:
    return None


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("plain", "plain"),
        ("$(PORT)", "9000"),
        ("http://$(HOST):$(PORT)/", "http://h:9000/"),
        ("$(UNKNOWN)", "$(UNKNOWN)"),
        ("$$(PORT)", "$(PORT)"),
        ("$PORT ${PORT}", "$PORT ${PORT}"),
        ("$()", "$()"),
    ],
)
def test_references_are_expanded_as_kubernetes_does(text: str, expanded: str) -> None:
    assert environment.expand(text, {"PORT": "9000", "HOST": "h"}) == expanded


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("metadata.name", "ranker-1"),
        ("metadata.namespace", "shop"),
        ("metadata.uid", "u-1"),
        ("metadata.labels['app']", "ranker"),
        ("metadata.labels['none']", ""),
        ("metadata.annotations['modelrollout.io/revision']", "r2"),
        ("status.podIP", "10.99.1.7"),
        ("spec.nodeName", "local-node"),
    ],
)
def test_fields(path: str, value: str) -> None:
    assert environment.field(POD, path, "10.99.1.7") == value


def test_an_unknown_field_is_refused() -> None:
    with pytest.raises(InvalidReferenceError, match=r"status\.qosClass"):
        environment.field(POD, "status.qosClass", "10.99.1.7")


def test_variables_may_use_earlier_ones_and_maps() -> None:
    entries = [
        {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "URL", "value": "http://$(IP)/$(LATER)"},
        {"name": "LATER", "value": "x"},
        {"name": "EMPTY"},
        {"name": "MODEL", "valueFrom": {"configMapKeyRef": {"name": "m", "key": "path"}}},
        {"name": "MAYBE", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k", "optional": True}}},
    ]
    container = {"env": entries}
    found = environment.variables(POD, container, "10.99.1.7", lambda name, key: f"{name}/{key}", nothing)
    assert found == {
        "IP": "10.99.1.7",
        "URL": "http://10.99.1.7/$(LATER)",
        "LATER": "x",
        "EMPTY": "",
        "MODEL": "m/path",
    }


def test_a_missing_key_is_refused() -> None:
    entries = [{"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]
    with pytest.raises(InvalidReferenceError, match="no key 'k' in 's'"):
        environment.variables(POD, {"env": entries}, "10.99.1.7", nothing, nothing)


def test_the_command_line() -> None:
    container = {"command": ["python", "-m", "$(MODULE)"], "args": ["--port=$(PORT)"]}
    words = environment.command_line(container, {"MODULE": "server", "PORT": "1"})
    assert words == ["python", "-m", "server", "--port=1"]
    with pytest.raises(InvalidReferenceError, match="must say what to run"):
        environment.command_line({"image": "x"}, {})


@pytest.mark.parametrize(("port", "number"), [(80, 80), ("81", 81), ("http", 9000)])
def test_ports_by_number_and_name(port: int | str, number: int) -> None:
    assert environment.port_number({"ports": [{"name": "http", "containerPort": 9000}]}, port) == number


def test_an_unknown_port_name_is_refused() -> None:
    with pytest.raises(InvalidReferenceError, match="grpc"):
        environment.port_number({"ports": []}, "grpc")


def test_only_one_registry_has_no_images() -> None:
    assert environment.image_exists("example.com/ranker:1")
    assert not environment.image_exists("missing.example/ranker:1")
