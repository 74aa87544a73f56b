"""The laboratory's history against a real Prometheus that was given a past: what was written is what is counted."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelrollout.cli import main as entry
from modelrollout.cli.cluster import Cluster
from modelrollout.lab import history
from modelrollout.lab.history import SourceError
from modelrollout.lab.policy import Policy, find_policy
from tests.support import remote_write
from tests.support.exporters import real_prometheus
from tests.unit.cli.fake import FakeCluster
from tests.unit.cli.states import rollout

_STEP = 15.0
_OLD, _BAD, _GOOD = "aaaaaaaa", "bbbbbbbb", "cccccccc"
_HOUR = 3600.0
_MANIFEST: dict[str, Any] = {
    "kind": "ModelRollout",
    "metadata": {"name": "ranker", "namespace": "recs"},
    "spec": {
        "steps": [{"weight": 10, "hold": "20m"}],
        "gates": [
            {
                "name": "errors",
                "ratio": {"bad": 'requests_total{code=~"5.."}', "total": "requests_total"},
                "atMost": "baseline + 0.5pp",
            }
        ],
    },
}
Sample = tuple[float, float]


def _policy() -> Policy:
    return find_policy([_MANIFEST])


class Past:
    """Six hours of a service: two pods, a bad release that was taken back, and a good one that stayed beside."""

    def __init__(self) -> None:
        self.end = math.floor(time.time() / _STEP) * _STEP - 60.0
        self.start = self.end - 6 * _HOUR
        self.totals: dict[str, float] = {}
        rng = np.random.default_rng(3)
        self.series: list[tuple[dict[str, str], list[Sample]]] = []
        for number in (0, 1):
            self._pod(rng, _OLD, number, self.start, self.end, 40.0, 0.01)
        self._pod(rng, _BAD, 0, self.end - 4 * _HOUR, self.end - 3 * _HOUR, 9.0, 0.06)
        self._pod(rng, _GOOD, 0, self.end - 2 * _HOUR, self.end, 9.0, 0.01)

    def _pod(
        self, rng: np.random.Generator, revision: str, number: int, begin: float, end: float, rate: float, bad: float
    ) -> None:
        count = round((end - begin) / _STEP)
        pod = f"ranker-{revision}-6f7c9d-abcd{number}"
        for code, share in (("200", 1.0 - bad), ("500", bad)):
            grown = np.cumsum(rng.poisson(rate * _STEP * share, count))
            labels = {"__name__": "requests_total", "namespace": "recs", "pod": pod, "code": code, "job": "pods"}
            self.series.append((labels, [(begin + _STEP * (i + 1), float(v)) for i, v in enumerate(grown)]))
            seen = grown[-1] - (grown[0] if begin == self.start else 0)
            self.totals[revision] = self.totals.get(revision, 0.0) + float(seen)


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Past]]:
    """A Prometheus that remembers the past, and what it is."""
    made = Past()
    folder = tmp_path_factory.mktemp("history") / "prometheus"
    with real_prometheus(folder, [], flags=remote_write.FLAGS, storage=remote_write.STORAGE) as url:
        remote_write.send(url, made.series)
        yield url, made


def test_every_request_of_the_past_is_counted_once(past: tuple[str, Past]) -> None:
    url, made = past
    found = history.read(
        history.Prometheus(url), _policy(), namespace="recs", name="ranker", start=made.start, end=made.end
    )
    assert {one: float(found.requests(one).sum()) for one in found.revisions} == made.totals


def test_past_releases_are_found_and_judged_from_the_command_line(
    past: tuple[str, Past], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    url, _ = past
    file = tmp_path / "ranker.yaml"
    file.write_text(json.dumps(_MANIFEST), encoding="utf-8")
    page = tmp_path / "out.html"
    words = ["modelrollout", "backtest", str(file), "--prometheus", url, "--from", "6h", "-o", "json", "--aa"]
    monkeypatch.setattr(sys, "argv", [*words, "--plot", str(page)])
    with pytest.raises(SystemExit) as ended:
        entry.main()
    assert ended.value.code == 0
    found = json.loads(capsys.readouterr().out)
    bad, good = found["releases"]
    assert (bad["revision"], bad["stable"], bad["outcome"], bad["gate"]) == (_BAD, _OLD, "rolledBack", "errors")
    assert (good["revision"], good["outcome"]) == (_GOOD, "promoted")
    assert found["aa"]["falseRollbacks"] == 0 and found["aa"]["runs"] > 10
    assert page.read_text(encoding="utf-8").count("<svg") == 4


@pytest.mark.parametrize("command", ["plan", "calibrate"])
def test_traffic_and_noise_are_measured_from_the_past(
    past: tuple[str, Past],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: str,
) -> None:
    url, _ = past
    file = tmp_path / "ranker.yaml"
    file.write_text(json.dumps(_MANIFEST), encoding="utf-8")
    words = ["modelrollout", command, str(file), "--prometheus", url, "--from", "6h", "-o", "json"]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as ended:
        entry.main()
    assert ended.value.code == 0
    (gate,) = json.loads(capsys.readouterr().out)["gates"]
    assert gate["rate" if command == "plan" else "requestsPerSecond"] == pytest.approx(80, rel=0.02)


def test_why_a_release_was_rolled_back_is_read_again_and_explained(
    past: tuple[str, Past], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    url, made = past
    begun, ended = (datetime.fromtimestamp(made.end - hours * _HOUR, UTC).isoformat() for hours in (4.01, 3.5))
    body = rollout({"phase": "RolledBack", "reason": "GateBreached"})
    body["spec"] = body["spec"] | _MANIFEST["spec"]
    body["status"]["history"] = [
        {"revision": f"{_BAD}1122", "version": "42", "outcome": "RolledBack", "reason": "GateBreached", "weight": 10}
        | {"message": "errors", "startedAt": begun, "endedAt": ended}
    ]
    monkeypatch.setattr(Cluster, "connect", FakeCluster(body).connect)
    monkeypatch.setattr(sys, "argv", ["modelrollout", "explain", "ranker", "--prometheus", url, "-o", "json"])
    with pytest.raises(SystemExit) as stopped:
        entry.main()
    assert stopped.value.code == 0
    found = json.loads(capsys.readouterr().out)
    assert found["replay"]["outcome"] == "rolledBack" and found["gates"][0]["enoughAt"] == found["replay"]["at"]


def test_refusals_and_outages_are_said(past: tuple[str, Past]) -> None:
    url, _ = past
    with pytest.raises(SourceError, match=r"refuses the query up\{: .*parse error"):
        history.Prometheus(url).range("up{", 0.0, 15.0, 15.0)
    with pytest.raises(SourceError, match=r"does not answer: .*refused"):
        history.Prometheus("http://127.0.0.1:1").range("up", 0.0, 15.0, 15.0)
