"""What somebody may write where something else was meant: JSON of any shape, edges, small edits of what is right."""

from __future__ import annotations

import copy
from typing import Any, Final

from hypothesis import strategies as st

__all__ = ["edited", "junk", "texts"]

_EDGES: Final[tuple[Any, ...]] = (
    "",
    " ",
    "-",
    "0",
    "-1",
    "1e999",
    "NaN",
    "Infinity",
    "9" * 400,
    "0.000000001%",
    "99999999999h",
    "0s",
    "1h1h1h1h1h",
    "baseline",
    "baseline + 1%",
    "999999999% of baseline + 999999999pp",
    "3 of 2",
    "１２s",
    "٣%",
    "{",
    "}",
    "{revision}",
    "{namespace}{namespace}",
    '"',
    "\\",
    "\x00",
    "\n",
    "\u2028",
    "\ud7ff",
    "../../x",
    "%2e%2e",
    "x" * 5_000,
    "2026-11-21T12:00:00Z",
    "0001-01-01T00:00:00+23:59",
    "9999-12-31T23:59:59-23:59",
    "external",
    "0123456789",
    0,
    -1,
    2**31,
    2**63,
    10**400,
    1e308,
    float("inf"),
    float("nan"),
    True,
    None,
    [],
    {},
    [[[[[]]]]],
    {"": ""},
)
"""Texts and numbers at which programs break."""

texts = st.one_of(st.text(max_size=60), st.sampled_from([one for one in _EDGES if isinstance(one, str)]))
_leaves = st.one_of(st.sampled_from(_EDGES), st.integers(), st.floats(), st.booleans(), st.text(max_size=20))
junk = st.recursive(
    _leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.one_of(texts, st.text(max_size=8)), inner, max_size=4)
    ),
    max_leaves=8,
)


def _places(value: Any, way: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [way, *(place for key, one in inside for place in _places(one, (*way, key)))]


@st.composite
def edited(draw: st.DrawFn, *rights: Any) -> Any:
    """Something right with a few places replaced, taken away or added to."""
    value = copy.deepcopy(draw(st.sampled_from(rights)))
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.sampled_from(_places(value)))
        if not place:
            continue
        node = value
        for key in place[:-1]:
            node = node[key]
        match draw(st.integers(0, 4)):
            case 0:
                del node[place[-1]]
            case 1 if isinstance(node[place[-1]], dict):
                node[place[-1]][draw(texts)] = copy.deepcopy(draw(junk))
            case 2 if isinstance(node[place[-1]], list):
                node[place[-1]].append(copy.deepcopy(draw(junk)))
            case _:
                node[place[-1]] = copy.deepcopy(draw(junk))
    return value
