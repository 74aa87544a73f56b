"""A gate's state as one short string for status, and back, exactly.

Doubles are packed as they are (base85), because a state that was rounded on the way through status could decide
otherwise after a restart than without one. What people want to read stands in status in clear beside it.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final

import numpy as np

from modelrollout.gates import sequential
from modelrollout.gates.evidence import Histogram
from modelrollout.gates.sequential import State

__all__ = ["pack", "pack_all", "unpack"]

_VERSION: Final = "s2"
_LARGEST_WIDTH: Final = 64
"""No state and no histogram is wider; what claims to be is rubbish."""
_RUBBISH: Final = "not the state of a sequential test"
_ALPHABET: Final = np.frombuffer(
    b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;<=>?@^_`{|}~", dtype=np.uint8
)
_DIGITS: Final = np.full(256, -1, dtype=np.int64)
_DIGITS[_ALPHABET] = np.arange(85)
_BASE: Final = np.uint32(85)
_PLACES: Final = 85 ** np.arange(4, -1, -1)


def pack(state: State, histograms: Sequence[Histogram]) -> str:
    """The state of one run, and histograms."""
    return pack_all([(state, histograms)])[0]


def pack_all(those: Sequence[tuple[State, Sequence[Histogram]]]) -> list[str]:
    """The same of many, each with the state of one run: most of the time goes into calls, not into letters."""
    marks: list[tuple[str, int]] = []
    raws: list[bytes] = []
    for state, histograms in those:
        raw = state.table.astype("<f8", copy=False).tobytes() + state.lessons.astype("<f4", copy=False).tobytes()
        marks.append((f"{_VERSION}:{state.shifts.shape[1]}:", len(raw)))
        raws.append(raw)
        bounds: tuple[float, ...] = ()
        for histogram in histograms:
            shared = histogram.bounds == bounds
            bounds = histogram.bounds
            numbers = histogram.counts if shared else (*bounds, *histogram.counts)
            marks.append((":=" if shared else ":", 8 * len(numbers)))
            raws.append(struct.pack(f"<{len(numbers)}d", *numbers))
    letters, at = _encode(b"".join(raws)), 0
    texts: list[str] = []
    for mark, size in marks:
        part = mark + letters[at : at + size * 5 // 4]
        at += size * 5 // 4
        if mark[0] == ":":
            texts[-1] += part
        else:
            texts.append(part)
    return texts


def unpack(text: str) -> tuple[State, list[Histogram]]:
    """What :func:`pack` wrote.

    Raises
    ------
    ValueError
        If the text was not written by it.
    """
    version, _, rest = text.partition(":")
    width, _, rest = rest.partition(":")
    if version != _VERSION or not width.isdecimal() or not 0 < int(width) <= _LARGEST_WIDTH:
        raise ValueError(_RUBBISH)
    blank = sequential.start(1, shifts=np.zeros(int(width)))
    body, *others = rest.split(":")
    raw = _decode(body)
    if len(raw) != blank.table.nbytes + blank.lessons.nbytes or len(others) != 3:
        raise ValueError(f"{_RUBBISH}: it has another length")
    table = np.frombuffer(raw, dtype="<f8", count=blank.table.size).astype(np.float64)
    lessons = np.frombuffer(raw, dtype="<f4", offset=blank.table.nbytes).astype(np.float32)
    if not (np.isfinite(table).all() and np.isfinite(lessons).all()):
        raise ValueError(f"{_RUBBISH}: it has numbers that are none")
    return (
        State(table.reshape(blank.table.shape), lessons.reshape(blank.lessons.shape)),
        _histograms(others),
    )


def _histograms(parts: Sequence[str]) -> list[Histogram]:
    """Histograms; the bounds are written once for those that share them with the one before."""
    found: list[Histogram] = []
    for part in parts:
        shared = part.startswith("=")
        raw = _decode(part[1:] if shared else part)
        if len(raw) % (8 if shared else 16):
            raise ValueError(_RUBBISH)
        numbers = struct.unpack(f"<{len(raw) // 8}d", raw)
        half = 0 if shared else len(numbers) // 2
        bounds = found[-1].bounds if shared and found else numbers[:half]
        if len(bounds) != len(numbers) - half:
            raise ValueError(_RUBBISH)
        found.append(Histogram(bounds, numbers[half:]))
    return found


def _encode(raw: bytes) -> str:
    """Base85 (RFC 1924), as :func:`base64.b85encode` writes it, of whole words of four bytes: in arrays, because this
    is done at every look."""
    left = np.frombuffer(raw, dtype=">u4").astype(np.uint32)
    letters = np.empty((len(left), 5), dtype=np.uint8)
    for place in range(4, -1, -1):  # by one number at a time: to divide by different ones takes twenty times as long
        rest = left // _BASE
        letters[:, place] = _ALPHABET[left - rest * _BASE]
        left = rest
    return str(letters.tobytes(), "ascii")


def _decode(text: str) -> bytes:
    letters = np.frombuffer(text.encode(), dtype=np.uint8)
    digits = _DIGITS[letters]
    if len(digits) % 5 or (digits < 0).any():
        raise ValueError(_RUBBISH)
    words = digits.reshape(-1, 5) @ _PLACES
    if (words >= 2**32).any():
        raise ValueError(_RUBBISH)
    return words.astype(">u4").tobytes()
