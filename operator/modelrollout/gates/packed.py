"""A gate's state as one short string for status, and back, exactly.

Doubles are packed as they are (base64), because a state that was rounded on the way through status could decide
otherwise after a restart than without one. What people want to read stands in status in clear beside it.
"""

from __future__ import annotations

import base64
import binascii
import struct
from collections.abc import Sequence
from dataclasses import fields
from typing import Final

import numpy as np

from modelrollout.gates import sequential
from modelrollout.gates.evidence import Histogram
from modelrollout.gates.sequential import State

__all__ = ["pack", "unpack"]

_VERSION: Final = "s1"
_LARGEST_WIDTH: Final = 64
"""No state and no histogram is wider; what claims to be is rubbish."""


def pack(state: State, histograms: Sequence[Histogram]) -> str:
    """The state of one run, and histograms."""
    arrays = [np.asarray(getattr(state, field.name))[0] for field in fields(state)]
    raw = b"".join(array.astype(array.dtype.newbyteorder("<")).tobytes() for array in arrays)
    parts = [_VERSION, str(state.shifts.shape[1]), _encode(raw)]
    for histogram in histograms:
        parts.append(_encode(struct.pack(f"<{2 * len(histogram.bounds)}d", *histogram.bounds, *histogram.counts)))
    return ":".join(parts)


def unpack(text: str) -> tuple[State, list[Histogram]]:
    """What :func:`pack` wrote.

    Raises
    ------
    ValueError
        If the text was not written by it.
    """
    version, _, rest = text.partition(":")
    width, _, rest = rest.partition(":")
    if version != _VERSION or not width.isdigit() or not 0 < int(width) <= _LARGEST_WIDTH:
        raise ValueError("not the state of a sequential test")
    blank = sequential.start(1, shifts=np.zeros(int(width)))
    body, *others = rest.split(":")
    raw = _decode(body)
    arrays = {field.name: np.asarray(getattr(blank, field.name)) for field in fields(blank)}
    if len(raw) != sum(array.nbytes for array in arrays.values()) or len(others) != 3:
        raise ValueError("the state of a sequential test has another length")
    state, at = {}, 0
    for name, array in arrays.items():
        read = np.frombuffer(raw, dtype=array.dtype.newbyteorder("<"), count=array.size, offset=at)
        state[name] = read.reshape(array.shape).astype(array.dtype)
        at += array.nbytes
    return State(**state), [_histogram(other) for other in others]


def _histogram(text: str) -> Histogram:
    raw = _decode(text)
    if len(raw) % 16:
        raise ValueError("not the state of a sequential test")
    numbers = struct.unpack(f"<{len(raw) // 8}d", raw)
    half = len(numbers) // 2
    return Histogram(numbers[:half], numbers[half:])


def _encode(raw: bytes) -> str:
    return base64.b85encode(raw).decode("ascii")


def _decode(text: str) -> bytes:
    try:
        raw = base64.b85decode(text)
    except (ValueError, binascii.Error) as error:
        raise ValueError("not the state of a sequential test") from error
    return raw
