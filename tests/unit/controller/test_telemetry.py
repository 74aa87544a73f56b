"""The operator's own metrics: the numbers of the last look, in a format that Prometheus reads, of bounded size."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from modelrollout.api.enums import Phase, Reason, Urgency
from modelrollout.api.objects import Rollout
from modelrollout.api.status import Blind, ModelRolloutStatus, Notice, RevisionRef
from modelrollout.controller import logs, transitions
from modelrollout.controller.queue import QueueState
from modelrollout.controller.store import Key, Store
from modelrollout.controller.telemetry import Telemetry
from modelrollout.telemetry import meters
from modelrollout.telemetry.families import GATES, OPERATOR, ROLLOUTS
from modelrollout.telemetry.page import exported
from tests.unit.cli.states import NOW, STATES

BODY = STATES["breached"][0]
ROLLOUT = Rollout.parse(BODY)
Sample = tuple[str, tuple[tuple[str, str], ...]]


class _World:
    """What else is asked."""

    unwritten: datetime | None = None
    frozen_in: frozenset[str] = frozenset()

    def queue(self) -> QueueState:
        return QueueState((1, 7), (0.5, 9.0), 3, 4.0, 0.25, 0.0)

    def frozen(self, namespace: str) -> bool:
        return namespace in self.frozen_in

    def unwritten_since(self, _: Key) -> datetime | None:
        return self.unwritten

    def longest_measurement(self) -> float:
        return 3.5

    def messages_waiting(self) -> int:
        return 2


class _Operator:
    """A store with rollouts, and what is told of them."""

    def __init__(self, most: int = 100) -> None:
        self.store, self.world = Store(), _World()
        self.telemetry = Telemetry(self.store, (), self.world, most_rollouts=most)
        self.telemetry.stand(leading=True)

    def look(self, name: str = "ranker", **changes: Any) -> None:
        """A look at a rollout left this status."""
        body = deepcopy(BODY)
        body["metadata"] |= {"name": name, "uid": name}
        self.store.put(body)
        self.telemetry.note(replace(ROLLOUT, name=name, uid=name), ROLLOUT.status.model_copy(update=changes))

    def text(self) -> str:
        """A scrape."""

        async def scrape() -> bytes:
            self.telemetry._made = (float("-inf"), b"")
            self.telemetry._once = asyncio.Lock()
            return await self.telemetry.text()

        return asyncio.run(scrape()).decode()

    def scrape(self) -> dict[Sample, float]:
        """As Prometheus takes it in."""
        return {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in text_string_to_metric_families(self.text())
            for sample in family.samples
        }

    def of(self, name: str, **labels: str) -> list[float]:
        """The values of the series that have these labels."""
        return [
            value
            for (found, has), value in self.scrape().items()
            if found == name and labels.items() <= dict(has).items()
        ]


def test_detail_29_live_numbers_are_those_of_the_last_look() -> None:
    operator = _Operator()
    operator.look()
    ranker = {"namespace": ROLLOUT.namespace, "rollout": "ranker"}
    assert operator.of("modelrollout_rollout_weight_asked_ratio", **ranker) == [0.5]
    assert operator.of("modelrollout_rollout_weight_observed_ratio", **ranker) == [0.5]
    phase, reason = str(ROLLOUT.status.phase), str(ROLLOUT.status.reason)
    assert operator.of("modelrollout_rollout_phase_info", phase=phase, reason=reason, **ranker) == [1.0]
    for found in ROLLOUT.status.gates:
        gate = ranker | {"gate": found.name}
        assert operator.of("modelrollout_gate_value", **gate) == ([] if found.value is None else [found.value])
        assert operator.of("modelrollout_gate_samples", arm="candidate", **gate) == [found.samples]
        assert operator.of("modelrollout_gate_samples", arm="baseline", **gate) == [found.baseline_samples]
        assert operator.of("modelrollout_gate_verdict_info", verdict=str(found.verdict), **gate) == [1.0]
    assert operator.of("modelrollout_gate_limit_value", gate="ctr", **ranker) == [pytest.approx(0.0297)]
    operator.look(observed_weight=10)
    assert operator.of("modelrollout_rollout_weight_observed_ratio", **ranker) == [0.1]


def test_what_is_so_at_the_moment_is_shown_and_gone_when_it_is_over() -> None:
    operator = _Operator()
    page = Notice(id="1", urgency=Urgency.PAGE, reason=Reason.SHARED_DEGRADATION, message="both", at=NOW, lasts=True)
    chat = Notice(id="2", urgency=Urgency.CHAT, reason=Reason.PROMOTED, message="done", at=NOW)
    operator.look(blind=Blind(since=NOW), draining_since=NOW, notices=[page, chat])
    operator.world.unwritten, operator.world.frozen_in = NOW, frozenset({ROLLOUT.namespace})
    for name in ("blind_since", "draining_since", "unwritten_since"):
        assert operator.of(f"modelrollout_rollout_{name}_timestamp_seconds") == [NOW.timestamp()]
    assert operator.of("modelrollout_rollout_frozen") == [1.0]
    assert operator.of("modelrollout_rollout_notice") == [1.0]
    assert operator.of("modelrollout_rollout_notice", urgency="page", reason="SharedDegradation") == [1.0]
    operator.look(notices=[page, page.model_copy(update={"id": "3", "revision": "other"})])
    assert operator.text().count("modelrollout_rollout_notice{") == 1, "two samples of one series are refused"
    over = page.model_copy(update={"over_at": NOW + timedelta(minutes=1)})
    operator.look(notices=[over])
    operator.world.unwritten = None
    names = {name for name, _ in operator.scrape()}
    assert not {
        name for name in names if name.startswith(("modelrollout_rollout_notice", "modelrollout_rollout_blind"))
    }
    assert "modelrollout_rollout_unwritten_since_timestamp_seconds" not in names


def test_only_who_is_looked_at_regularly_has_an_interval_to_be_late_for() -> None:
    """The alert on looks that are overdue rests on it."""
    operator = _Operator()
    operator.look(phase=Phase.PROGRESSING)
    assert len(operator.of("modelrollout_rollout_interval_seconds")) == 1
    operator.look(phase=Phase.ROLLED_BACK)
    assert not operator.of("modelrollout_rollout_interval_seconds")
    operator.telemetry.note(replace(ROLLOUT, spec=ROLLOUT.spec.model_copy(update={"gates": []})), ROLLOUT.status)
    assert not operator.of("modelrollout_rollout_interval_seconds"), "without gates it waits for events alone"


def test_a_rollout_that_is_gone_has_no_series() -> None:
    operator = _Operator()
    operator.look("ranker")
    operator.look("ads")
    operator.store.drop((ROLLOUT.namespace, "ads"), "ads")
    assert {dict(labels).get("rollout") for _, labels in operator.scrape()} == {None, "ranker"}
    assert len(operator.telemetry._seen) == 1


def test_a_rollout_has_at_most_forty_series_with_three_gates_and_few_at_rest() -> None:
    operator = _Operator()
    gates = [ROLLOUT.status.gates[0].model_copy(update={"name": name}) for name in ("ctr", "p95", "errors")]
    operator.look(gates=gates, blind=Blind(since=NOW), draining_since=NOW)
    operator.world.unwritten = NOW
    count = sum(dict(labels).get("rollout") == "ranker" for _, labels in operator.scrape())
    assert 30 <= count <= 40
    operator.world.unwritten = None
    operator.look(candidate=None, phase=Phase.STABLE)
    assert sum(dict(labels).get("rollout") == "ranker" for _, labels in operator.scrape()) <= 8


def test_no_more_rollouts_than_asked_are_shown_and_those_on_trial_come_first() -> None:
    operator = _Operator(most=2)
    for name in ("a", "b", "c"):
        operator.look(name, candidate=None)
    operator.look("trial")
    assert {dict(labels).get("rollout") for _, labels in operator.scrape()} == {None, "trial", "a"}
    assert operator.of("modelrollout_rollouts_hidden") == [2.0]


def test_a_standby_shows_that_it_is_one_and_no_rollouts() -> None:
    operator = _Operator()
    operator.look()
    before = meters.REGISTRY.get_sample_value("modelrollout_lease_transitions_total") or 0.0
    operator.telemetry.stand(leading=False)
    assert operator.of("modelrollout_leader") == [0.0]
    assert {dict(labels).get("rollout") for _, labels in operator.scrape()} == {None}
    assert sum(operator.of("modelrollout_rollouts")) == 1.0, (
        "that a rollout is under way must be known without a leader"
    )
    operator.telemetry.stand(leading=True, epoch=4)
    assert operator.of("modelrollout_leader") == [1.0]
    assert operator.of("modelrollout_lease_epoch") == [4.0]
    assert meters.REGISTRY.get_sample_value("modelrollout_lease_transitions_total") == before + 1.0


@pytest.mark.parametrize("version", ['a"b', "a\\b", "a\nb", "a{b}=,", "ü" * 128])
def test_what_users_write_is_escaped(version: str) -> None:
    operator = _Operator()
    operator.look(stable=RevisionRef(revision="1", version=version))
    assert operator.of("modelrollout_rollout_info", stable_version=version) == [1.0]


def test_numbers_that_are_none_are_not_invented() -> None:
    operator = _Operator()
    gate = ROLLOUT.status.gates[0].model_copy(update={"value": float("inf"), "baseline": None})
    operator.look(gates=[gate], observed_weight=None)
    assert operator.of("modelrollout_gate_value") == [float("inf")]
    assert not operator.of("modelrollout_gate_baseline_value")
    assert not operator.of("modelrollout_rollout_weight_observed_ratio")


def test_everything_that_is_exported_is_documented_with_its_type() -> None:
    operator = _Operator()
    operator.look(blind=Blind(since=NOW))
    text = operator.text()
    known = exported()
    for family in text_string_to_metric_families(text):
        if family.name.startswith("modelrollout_"):
            assert family.documentation
            assert {sample.name for sample in family.samples} <= known
    assert len({one.name for one in (*OPERATOR, *ROLLOUTS, *GATES)} | {one.name for one in meters.METERS}) == len(
        [*OPERATOR, *ROLLOUTS, *GATES, *meters.METERS]
    ), "two families of one name"


def test_the_queue_is_shown_by_lane() -> None:
    operator = _Operator()
    assert operator.of("modelrollout_queue_length", lane="urgent") == [1.0]
    assert operator.of("modelrollout_queue_oldest_seconds", lane="ordinary") == [9.0]
    assert operator.of("modelrollout_queue_running") == [3.0]
    assert operator.of("modelrollout_queue_stuck_seconds") == [0.25]


def test_scrapes_side_by_side_are_answered_once() -> None:
    operator = _Operator()
    operator.look()

    async def scrape() -> list[bytes]:
        return list(await asyncio.gather(*(operator.telemetry.text() for _ in range(5))))

    answers = asyncio.run(scrape())
    assert all(one is answers[0] for one in answers)


def test_every_transition_is_one_line_and_a_look_without_one_is_none(caplog: pytest.LogCaptureFixture) -> None:
    before = ROLLOUT.status
    with caplog.at_level("INFO"):
        transitions.tell(ROLLOUT, before, before.model_copy(update={"evaluated_at": datetime.now(UTC), "message": "x"}))
        assert not caplog.records
        changes: list[dict[str, Any]] = [{"phase": Phase.PAUSED}, {"reason": Reason.FROZEN}, {"weight": 7}]
        for change in changes:
            transitions.tell(ROLLOUT, before, before.model_copy(update=change))
    assert len(caplog.records) == 3
    assert f"{ROLLOUT.namespace}/ranker is Paused" in caplog.messages[0]


def test_what_is_logged_in_a_look_says_what_it_was_decided_for() -> None:
    with logs.about("recs", "ranker") as about:
        transitions.note(ROLLOUT.status)
    candidate = ROLLOUT.status.candidate
    assert candidate is not None
    assert (about.revision, about.reason) == (candidate.revision, str(ROLLOUT.status.reason))


def _moved(phase: Phase) -> float:
    return meters.REGISTRY.get_sample_value("modelrollout_transitions_total", {"phase": str(phase)}) or 0.0


def test_changes_of_phase_are_counted() -> None:
    moved = _moved(Phase.PAUSED)
    status = ROLLOUT.status
    steps: list[Callable[[ModelRolloutStatus], ModelRolloutStatus]] = [
        lambda one: one.model_copy(update={"phase": Phase.PAUSED}),
        lambda one: one.model_copy(update={"reason": Reason.FROZEN}),
    ]
    for step in steps:
        after = step(status)
        transitions.tell(ROLLOUT, status, after)
        status = after
    assert _moved(Phase.PAUSED) == moved + 1.0
