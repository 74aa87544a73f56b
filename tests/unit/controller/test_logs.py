"""The log: one line for each event, about a known rollout, without secrets, and no flood of the same complaint."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from modelrollout.controller import logs


class _Log:
    """A logger of its own with the operator's handler."""

    def __init__(self, style: str) -> None:
        self.stream, self.now = io.StringIO(), 0.0
        self.handler = logs.LogHandler(self.stream, clock=lambda: self.now)
        self.handler.setFormatter(logs.JsonFormatter() if style == "json" else logs.TextFormatter())
        self.logger = logging.Logger("modelrollout.test", logging.DEBUG)
        self.logger.addHandler(self.handler)

    def complain(self, about: object) -> None:
        """From one place in the code."""
        self.logger.warning("watching %s failed", about)

    @property
    def lines(self) -> list[str]:
        return self.stream.getvalue().splitlines()

    @property
    def records(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines]


@pytest.fixture(autouse=True)
def nobody_leads() -> Iterator[None]:
    before = dict(logs._standing)
    logs._standing.clear()
    yield
    logs._standing.clear()
    logs._standing.update(before)


def test_a_line_of_json_says_what_it_is_about() -> None:
    log = _Log("json")
    logs.set_standing(leader=True, epoch=7)
    with logs.about("recs", "ranker"):
        logs.note("9f8e7d6c", "Holding")
        log.logger.info("step %d of %d", 2, 4)
    log.logger.info("about nothing")
    first, second = log.records
    assert first.pop("time").endswith("Z")
    assert first == {
        "level": "info",
        "logger": "modelrollout.test",
        "message": "step 2 of 4",
        "rollout": "recs/ranker",
        "revision": "9f8e7d6c",
        "reason": "Holding",
        "leader": True,
        "epoch": 7,
    }
    assert "rollout" not in second


@pytest.mark.parametrize("style", ["json", "text"])
def test_what_users_wrote_makes_no_line_of_its_own(style: str) -> None:
    log = _Log(style)
    log.logger.info("comment: %s", 'fine"\n2026-11-21 CRITICAL modelrollout: all is lost\x1b[2J\u2028')
    assert len(log.stream.getvalue().split("\n")) == 2
    assert "\x1b" not in log.stream.getvalue()


def test_an_exception_is_one_field() -> None:
    log = _Log("json")
    try:
        raise ValueError("on\ntwo lines")
    except ValueError:
        log.logger.exception("it failed")
    (record,) = log.records
    assert record["message"] == "it failed"
    assert record["exception"].startswith("Traceback")
    assert "on\ntwo lines" in record["exception"]


@pytest.mark.parametrize("style", ["json", "text"])
@pytest.mark.parametrize("text", ["http://user:hunter2long@prometheus:9090/x", "Authorization: Bearer hunter2long.abc"])
def test_secrets_of_libraries_errors_are_not_written(style: str, text: str) -> None:
    log = _Log(style)
    try:
        raise ValueError(text)
    except ValueError:
        log.logger.exception("%s", text)
    assert "hunter2long" not in log.stream.getvalue()
    assert "***" in log.stream.getvalue()


def test_the_same_complaint_is_said_a_few_times_and_then_counted() -> None:
    log = _Log("json")
    for number in range(1000):
        log.complain(number)
    assert len(log.lines) == 5
    log.now = 61.0
    log.handler.flush_repeated()
    assert log.records[-1]["message"] == "watching 999 failed (995 like this were not written in 60 s)"
    log.complain("again")
    assert log.records[-1]["message"] == "watching again failed", "a new minute, a new voice"


def test_the_same_complaint_about_many_rollouts_is_one_and_another_from_that_place_is_heard() -> None:
    log = _Log("json")
    for number in range(100):
        with logs.about("recs", f"ranker-{'abcdefghij'[number % 10]}"):
            log.complain(f"recs/ranker-{'abcdefghij'[number % 10]} in {number} s: timed out")
    assert len(log.lines) == 5
    log.complain("quota")
    assert log.records[-1]["message"] == "watching quota failed"


def test_complaints_that_are_all_different_are_no_flood_either() -> None:
    log = _Log("json")
    for number in range(10_000):
        log.complain("".join(chr(ord("g") + int(digit)) for digit in str(number)))
    assert len(log.lines) <= 60


def test_another_complaint_and_what_is_critical_are_never_held_back() -> None:
    log = _Log("json")
    for number in range(10):
        log.complain(number)
    log.logger.warning("something else")
    for _ in range(10):
        log.logger.critical("the end")
    assert [record["message"] for record in log.records[5:]] == ["something else", *["the end"] * 10]


def test_work_inside_work_is_about_its_own_rollout() -> None:
    log = _Log("json")
    with logs.about("recs", "ranker"):
        with logs.about("ads", "bidder"):
            log.logger.info("inner")
        log.logger.info("outer")
    assert [record["rollout"] for record in log.records] == ["ads/bidder", "recs/ranker"]
