"""Thresholds of probes, and when a verdict is reported."""

import asyncio
from typing import Any

import pytest

from localcluster.node.probes import Probe, Verdict, watch


@pytest.mark.parametrize(
    ("answers", "verdicts"),
    [
        ("++", [True, True]),
        ("-", [None]),
        ("--", [None, None]),
        ("---", [None, None, False]),
        ("--+--", [None, None, True, None, None]),
        ("---+", [None, None, False, True]),
    ],
)
def test_failures_must_come_in_a_row(answers: str, verdicts: list[bool | None]) -> None:
    verdict = Verdict(successes_needed=1, failures_allowed=3)
    assert [verdict.add(answer == "+") for answer in answers] == verdicts


def test_successes_may_have_to_come_in_a_row_too() -> None:
    verdict = Verdict(successes_needed=2, failures_allowed=1)
    assert [verdict.add(answer) for answer in (True, True, False, True)] == [None, True, False, None]


async def test_a_probe_is_eager_until_it_succeeds_once() -> None:
    results = iter([1, 1, 0])
    reports: list[bool] = []
    succeeded = asyncio.Event()

    async def execute(_command: list[str], _timeout: float) -> int | None:
        return next(results)

    def report(verdict: bool) -> None:
        reports.append(verdict)
        succeeded.set()

    spec: dict[str, Any] = {"exec": {"command": ["x"]}, "periodSeconds": 3600}
    task = asyncio.create_task(watch(Probe(spec, {}, "10.99.1.7", execute), report))
    await asyncio.wait_for(succeeded.wait(), 5)
    task.cancel()
    assert reports == [True]


async def test_a_probe_that_never_succeeds_is_reported_after_its_threshold() -> None:
    failed = asyncio.Event()

    async def execute(_command: list[str], _timeout: float) -> int | None:
        return 1

    def report(verdict: bool) -> None:
        assert not verdict
        failed.set()

    spec: dict[str, Any] = {"exec": {"command": ["x"]}, "periodSeconds": 0.01, "failureThreshold": 2}
    task = asyncio.create_task(watch(Probe(spec, {}, "10.99.1.7", execute), report))
    await asyncio.wait_for(failed.wait(), 5)
    task.cancel()
