"""Gates that are folded before the decision, together with other rollouts': the decision is the very same."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from modelrollout.api.enums import Phase
from modelrollout.engine.decide import decide
from modelrollout.engine.folding import fold_ahead
from modelrollout.engine.model import Ahead, Decision, Input
from modelrollout.gates.rate import RateTest
from modelrollout.gates.together import Link
from tests.support.world import CTR, DRIFT, ERRORS, LATENCY, Behaviour, World, spec

_GATES = [ERRORS, ERRORS | {"name": "absolute", "atMost": "5%"}, LATENCY, CTR, DRIFT]


def _looks(candidate: Behaviour, away: float = 0.0) -> list[Input]:
    """Every input of a rollout of two steps, to its end; ``away``: the operator ends in the first one, and is started
    again after so many seconds, in which the candidate begins to behave as it does."""
    world = World(spec(gates=_GATES, steps=[{"weight": 10, "hold": "2m"}, {"weight": 100, "hold": "1m"}]))
    world.behaviour["2"] = Behaviour() if away else candidate
    world.run(60)
    seen: list[Input] = []
    read = world._measurement

    def remembered(one: Input) -> Any:
        found = read(one)
        seen.append(replace(one, measurement=found))
        return found

    world._measurement = remembered  # type: ignore[method-assign, assignment]
    world.apply("2")
    world.run(100)
    if away:
        world.behaviour["2"] = candidate
        world.pass_unseen(away)
        world.restart()
    world.run(400)
    return seen


def _decided(seen: list[Input], monkeypatch: pytest.MonkeyPatch) -> tuple[list[Decision], list[Decision], list[str]]:
    """What follows alone, what follows together, and the gates that then folded an interval by themselves."""
    ahead = fold_ahead([(one.spec, one.status, one.measurement) for one in seen if one.measurement is not None])
    alone = [decide(one) for one in seen]
    folds: list[str] = []
    fold = RateTest.fold

    def counted(self: RateTest, *args: Any, **named: Any) -> Any:
        folds.append(self.name)
        return fold(self, *args, **named)

    monkeypatch.setattr(RateTest, "fold", counted)
    together = [decide(replace(one, ahead=known)) for one, known in zip(seen, ahead, strict=True)]
    return alone, together, folds


@pytest.mark.parametrize("candidate", [Behaviour(), Behaviour(errors=0.08), Behaviour(errors=0.9)])
def test_what_was_folded_ahead_changes_no_decision(candidate: Behaviour, monkeypatch: pytest.MonkeyPatch) -> None:
    measured = [one for one in _looks(candidate) if one.measurement is not None]
    alone, together, folds = _decided(measured, monkeypatch)
    assert together == alone
    judged = sum(gate.evidence is not None for one in measured for gate in one.status.gates if gate.name != "drift")
    assert judged > len(folds), "most of it was folded already"


def test_what_was_folded_of_something_else_is_not_taken() -> None:
    known: Ahead | None = None
    for one in _looks(Behaviour()):
        if one.measurement is not None and one.status.weight == 10:
            known = known or fold_ahead([(one.spec, one.status, one.measurement)])[0].get("errors")
    assert known is not None
    (link,) = known.links
    assert known.fits(known.test, known.checkpoint, [link])
    assert known.fits(known.test, known.checkpoint, [link, link]), "the rest is folded upon it"
    other = replace(link.interval, end=link.interval.start)
    assert not known.fits(known.test, known.checkpoint, [Link(link.interval, judged=not link.judged)])
    assert not known.fits(known.test, known.checkpoint, [Link(other, link.judged)])
    assert not known.fits(known.test, known.checkpoint, [])
    assert not known.fits(known.test, "another state", [link])
    assert not known.fits(replace(known.test), known.checkpoint, [link])


@pytest.mark.parametrize("candidate", [Behaviour(), Behaviour(errors=0.08)])
def test_what_was_missed_is_folded_ahead_too_and_changes_no_decision(
    candidate: Behaviour, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = [
        one
        for one in _looks(candidate, away=150.0)
        if one.measurement is not None and len(one.measurement.gates["errors"].intervals) >= 25
    ]
    alone, together, folds = _decided(late, monkeypatch)
    assert together == alone
    assert [one.status.phase for one in together] == [
        Phase.ROLLING_BACK if candidate.errors > 0.05 else Phase.PROGRESSING
    ]
    assert not folds, "nothing was left to fold"


def test_of_what_was_folded_ahead_only_the_unbroken_beginning_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """An interval that was guessed to be judged and is not ends the chain, and everything is folded anew."""
    (late, *_) = [
        one
        for one in _looks(Behaviour(), away=150.0)
        if one.measurement is not None and len(one.measurement.gates["errors"].intervals) >= 25
    ]
    assert late.measurement is not None
    (ahead,) = fold_ahead([(late.spec, late.status, late.measurement)])
    wrong = {name: replace(one, links=(*one.links[:7], one.links[8])) for name, one in ahead.items()}
    assert wrong and decide(replace(late, ahead=wrong)) == decide(late)
