"""Manifests as text: every document of a file, and where in the text each field stands.

YAML is read as kubectl reads it (sigs.k8s.io/yaml): a date is a text, ``1:30`` is no number, and a key that is there
twice is an error. A ``List`` is its items.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

__all__ = ["Document", "Place", "UnreadableError", "documents"]

Place = tuple[int, int]
"""Line and column, from 1."""
_MOST_NODES: Final = 200_000
"""More is no manifest, but a text that unfolds (aliases of aliases)."""


class UnreadableError(Exception):
    """A text that is no YAML, or none that kubectl would read."""

    def __init__(self, place: Place, message: str) -> None:
        super().__init__(message)
        self.place = place
        self.message = message


@dataclass(frozen=True)
class Document:
    """One object of a file."""

    content: Any
    """As JSON would have it."""
    places: dict[str, Place] = field(default_factory=dict)
    """Where each field stands, by its path as the API server writes it (``spec.gates[0].name``)."""

    def place(self, path: str) -> Place:
        """Where a field stands; of one that is missing, where what should contain it stands."""
        while path and path not in self.places:
            path = re.sub(r"(\.[^.\[\]]*|\[[^\]]*\]|^[^.\[\]]+)$", "", path)
        return self.places.get(path, (1, 1))


class _Loader(yaml.SafeLoader):
    """YAML's plain scalars as kubectl resolves them."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag.rsplit(":", 1)[1] in ("bool", "null", "merge")]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:int",
    re.compile(r"^[-+]?(0b[01_]+|0o?[0-7_]+|0x[0-9a-fA-F_]+|0|[1-9][0-9_]*)$"),
    list("-+0123456789"),
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$"),
    list("-+.0123456789"),
)


def documents(text: str) -> list[Document]:
    """Every object of a YAML (or JSON) text.

    Raises
    ------
    UnreadableError
        If it is no YAML, or a key is there twice.
    """
    loader = _Loader(text)
    found: list[Document] = []
    try:
        while loader.check_node():
            node = loader.get_node()
            if node is not None:
                found.extend(_objects(_Reader(loader).read(node)))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        raise UnreadableError(place, f"not YAML: {error.problem or error.context}") from error
    except yaml.YAMLError as error:
        raise UnreadableError((1, 1), f"not YAML: {' '.join(str(error).split())}") from error
    except RecursionError as error:
        raise UnreadableError((1, 1), "too deep for a manifest: does an alias contain itself?") from error
    finally:
        loader.dispose()
    return found


def _objects(document: Document) -> Iterator[Document]:
    """The document, or the items of a list."""
    content = document.content
    if content is None:
        return
    if not (isinstance(content, dict) and str(content.get("kind", "")).endswith("List") and "items" in content):
        yield document
        return
    for number, item in enumerate(content["items"] or []):
        prefix = f"items[{number}]"
        places = {
            path.removeprefix(prefix).removeprefix("."): place
            for path, place in document.places.items()
            if path == prefix or path.startswith((f"{prefix}.", f"{prefix}["))
        }
        yield Document(item, places)


class _Reader:
    """One document's content and places."""

    def __init__(self, loader: _Loader) -> None:
        self._loader = loader
        self._places: dict[str, Place] = {}
        self._nodes = 0

    def read(self, node: yaml.Node) -> Document:
        """The document below a node."""
        return Document(self._value(node, "", node), self._places)

    def _value(self, node: yaml.Node, path: str, shown: yaml.Node) -> Any:
        self._places[path] = _place(shown)
        self._nodes += 1
        if self._nodes > _MOST_NODES:
            raise UnreadableError(_place(node), "too large for a manifest: are its aliases nested in each other?")
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self._value(item, f"{path}[{number}]", item) for number, item in enumerate(node.value)]
        try:
            return self._loader.construct_object(node)
        except ValueError as error:
            raise UnreadableError(_place(node), f"not YAML: {error}") from error

    def _mapping(self, node: yaml.MappingNode, path: str) -> dict[str, Any]:
        keys = [key.value for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
        for key, _ in node.value:
            if isinstance(key.value, str) and keys.count(key.value) > 1:
                raise UnreadableError(_place(key), f'key "{key.value}" is there twice: leave one of them out')
        self._loader.flatten_mapping(node)
        found: dict[str, Any] = {}
        for key, value in node.value:  # what was merged in comes first, so that the mapping's own keys win
            name = str(key.value)
            found[name] = self._value(value, f"{path}.{name}" if path else name, key)
            self._places[f"{path}[{name}]"] = _place(key)  # as the server writes it where any name may stand
        return found


def _place(node: yaml.Node) -> Place:
    return node.start_mark.line + 1, node.start_mark.column + 1
