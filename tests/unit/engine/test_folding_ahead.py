"""Gates that are folded before the decision, together with other rollouts': the decision is the very same."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from modelrollout.engine.decide import decide
from modelrollout.engine.folding import fold_ahead
from modelrollout.engine.model import Ahead, Input
from modelrollout.gates.rate import RateTest
from tests.support.world import CTR, DRIFT, ERRORS, LATENCY, Behaviour, World, spec

_GATES = [ERRORS, ERRORS | {"name": "absolute", "atMost": "5%"}, LATENCY, CTR, DRIFT]


def _looks(candidate: Behaviour) -> list[Input]:
    """Every input of a rollout of two steps, to its end."""
    world = World(spec(gates=_GATES, steps=[{"weight": 10, "hold": "2m"}, {"weight": 100, "hold": "1m"}]))
    world.behaviour["2"] = candidate
    world.run(60)
    seen: list[Input] = []
    read = world._measurement

    def remembered(one: Input) -> Any:
        found = read(one)
        seen.append(replace(one, measurement=found))
        return found

    world._measurement = remembered  # type: ignore[method-assign, assignment]
    world.apply("2")
    world.run(400)
    return seen


@pytest.mark.parametrize("candidate", [Behaviour(), Behaviour(errors=0.08), Behaviour(errors=0.9)])
def test_what_was_folded_ahead_changes_no_decision(candidate: Behaviour, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = _looks(candidate)
    measured = [one for one in seen if one.measurement is not None]
    ahead = fold_ahead([(one.spec, one.status, one.measurement) for one in measured if one.measurement is not None])
    alone = [decide(one) for one in measured]
    folds: list[str] = []
    fold = RateTest.fold

    def counted(self: RateTest, *args: Any, **named: Any) -> Any:
        folds.append(self.name)
        return fold(self, *args, **named)

    monkeypatch.setattr(RateTest, "fold", counted)
    together = [decide(replace(one, ahead=known)) for one, known in zip(measured, ahead, strict=True)]
    assert together == alone
    judged = sum(gate.evidence is not None for one in measured for gate in one.status.gates if gate.name != "drift")
    assert judged > len(folds), "most of it was folded already"


def test_what_was_folded_of_something_else_is_not_taken() -> None:
    known: Ahead | None = None
    for one in _looks(Behaviour()):
        if one.measurement is not None and one.status.weight == 10:
            known = known or fold_ahead([(one.spec, one.status, one.measurement)])[0].get("errors")
    assert known is not None
    assert known.fits(known.test, known.checkpoint, known.interval, judged=known.judged)
    other = replace(known.interval, end=known.interval.start)
    assert not known.fits(known.test, known.checkpoint, known.interval, judged=not known.judged)
    assert not known.fits(known.test, known.checkpoint, other, judged=known.judged)
    assert not known.fits(known.test, "another state", known.interval, judged=known.judged)
    assert not known.fits(replace(known.test), known.checkpoint, known.interval, judged=known.judged)
