"""State through status and back: nothing is lost, nothing is large, rubbish is refused."""

from __future__ import annotations

import base64
import math

import numpy as np
import pytest

from modelrollout.gates import sequential
from modelrollout.gates.eprocess import Line
from modelrollout.gates.evidence import Histogram
from modelrollout.gates.packed import pack, unpack
from modelrollout.gates.sequential import Design, Slot, State

_NONE = Histogram((), ())
_DESIGN = Design(Line(1.0, 0.002), 0.006, look_alpha=0.003, later_steps=1)


def _slots(seed: int, count: int) -> list[Slot]:
    random = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        nc, nb = random.poisson((5, 45))
        counts = (nc, random.binomial(nc, 0.05), nb, random.binomial(nb, 0.01))
        found.append(Slot.of(*(np.array([float(value)]) for value in counts)))
    return found


def _after(count: int, *, floor: float | None) -> State:
    state = sequential.start(1, floor=floor, requests=1000.0, bad=10.0)
    for slot in _slots(1, count):
        state = sequential.fold(state, _DESIGN, slot)
    return state


@pytest.mark.parametrize("floor", [1.0, None])
def test_a_rollout_that_is_resumed_after_every_interval_decides_bit_for_bit_alike(floor: float | None) -> None:
    straight = resumed = sequential.start(1, floor=floor, requests=1000.0, bad=10.0)
    for i, slot in enumerate(_slots(2, 120)):
        (resumed, _) = unpack(pack(resumed, [_NONE] * 3))
        if i == 60:
            straight, resumed = sequential.seal(straight, _DESIGN), sequential.seal(resumed, _DESIGN)
        straight, resumed = (sequential.fold(state, _DESIGN, slot) for state in (straight, resumed))
        assert straight.table.tobytes() == resumed.table.tobytes()
        assert straight.lessons.tobytes() == resumed.lessons.tobytes()


def test_the_state_of_a_ratio_takes_less_than_a_kibibyte() -> None:
    for count in (0, 50, 400):
        assert len(pack(_after(count, floor=None), [_NONE] * 3)) <= 1024


def test_histograms_come_back() -> None:
    one = Histogram((0.1, 0.2, math.inf), (1.0, 2.5, 3.0))
    _, found = unpack(pack(_after(3, floor=1.0), [one, _NONE, one]))
    assert found == [one, _NONE, one]


def test_the_text_is_ascii_without_the_separator() -> None:
    text = pack(_after(30, floor=1.0), [_NONE] * 3)
    assert text.isascii() and text.count(":") == 5


@pytest.mark.parametrize(
    "text",
    [
        "",
        "rubbish",
        "s1:10:abc",
        "s2",
        "s2:0:::",
        "s2:-1:::",
        "s2:99999999:::",
        "s2:²:::",
        "s2:10::::",
        "s2:10:abc:::",
        "s2:10:\x00:::",
        "{}",
    ],
)
def test_rubbish_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not the state"):
        unpack(text)


def test_a_state_cut_short_lengthened_or_without_numbers_is_refused() -> None:
    text = pack(_after(30, floor=1.0), [_NONE] * 3)
    version, width, body, *rest = text.split(":")
    raw = base64.b85decode(body)
    spoilt = [raw[:-8], raw + bytes(8), np.full(len(raw) // 4, np.nan, dtype="<f4").tobytes()]
    for wrong in spoilt:
        changed = ":".join([version, width, base64.b85encode(wrong).decode(), *rest])
        with pytest.raises(ValueError, match="not the state"):
            unpack(changed)
    for other in (text + ":", ":".join([version, width, body, "abc", "", ""]), text.rsplit(":", 1)[0]):
        with pytest.raises(ValueError, match="not the state"):
            unpack(other)
