"""Following a release: what is shown, when it ends well, and when it is given up with a clear word."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from demo.following import Following
from demo.measuring import Users
from demo.rendering import Rendering
from demo.screen import Screen
from demo.stage import Stage, StoryError
from demo.watching import Recorder
from localcluster import GatewayRef


@dataclass(frozen=True)
class NoCluster:
    """A cluster that answers nothing; what it would have shown is put into the recorder."""

    kubeconfig: Path = Path("/nonexistent")
    published_kubeconfig: Path = Path("/nonexistent")
    gateway: GatewayRef = field(default_factory=lambda: GatewayRef("gateways", "outer"))
    gateway_url: str = "http://127.0.0.1:9"
    prometheus_url: str = "http://127.0.0.1:9"
    image: str | None = None
    owns_prometheus: bool = True
    temporary: bool = True

    def kubectl(self, *arguments: str, input: str | None = None) -> str:
        return ""

    def service_account_kubeconfig(self, namespace: str, name: str) -> Path:
        return self.kubeconfig

    def stop_prometheus(self) -> None:
        return

    def start_prometheus(self) -> None:
        return


@pytest.fixture
def recorder() -> Recorder:
    """What the watch saw."""
    return Recorder()


@pytest.fixture
def output() -> io.StringIO:
    """What the person saw."""
    return io.StringIO()


@pytest.fixture
def release(recorder: Recorder, output: io.StringIO, tmp_path: Path) -> Following:
    """The release of v2, which made generation 2."""
    cluster = NoCluster()
    rendering = Rendering(tmp_path, cluster.gateway_url, 60.0, cluster.gateway)
    stage = Stage(cluster, rendering, recorder, tmp_path / "operator.log")
    return Following(stage, Screen(Console(file=output, width=200)), "v2", generation=2)


def rollout(*, generation: int = 2, observed: int = 2, **status: Any) -> dict[str, Any]:
    """A ModelRollout as the watch shows it."""
    return {
        "metadata": {"generation": generation},
        "spec": {"gates": []},
        "status": {"observedGeneration": observed, "phase": "Progressing", **status},
    }


def test_it_ends_when_the_status_is_as_wanted(release: Following, recorder: Recorder, output: io.StringIO) -> None:
    recorder.see_rollout(rollout(reason="Holding", message="held for 2 s", weight=10))
    found = release.until(lambda status: status["weight"] == 10, "holding", timeout=5.0)
    assert found["status"]["weight"] == 10
    assert release.peak == 10
    assert "Progressing Holding: held for 2 s" in output.getvalue()
    assert "weight 10 % asked" in output.getvalue()


def test_a_status_of_an_earlier_spec_says_nothing(release: Following, recorder: Recorder) -> None:
    recorder.see_rollout(rollout(observed=1, weight=10))
    with pytest.raises(StoryError, match="not judged by the operator yet"):
        release.until(lambda status: True, "holding", timeout=0.0)


def test_a_watch_that_lags_behind_says_nothing(release: Following, recorder: Recorder) -> None:
    recorder.see_rollout(rollout(generation=1, observed=1, weight=10))
    with pytest.raises(StoryError, match="not judged by the operator yet"):
        release.until(lambda status: True, "holding", timeout=0.0)


@pytest.mark.parametrize(
    "status",
    [
        {"phase": "RolledBack", "message": "ctr: 13 %"},
        {"phase": "Stalled", "message": "no route"},
        {"phase": "Stable", "message": "all traffic", "stable": {"version": "v2"}},
    ],
)
def test_what_cannot_come_any_more_is_not_waited_for(
    release: Following, recorder: Recorder, status: dict[str, Any]
) -> None:
    recorder.see_rollout(rollout(**status))
    with pytest.raises(StoryError, match=f"v2: {status['phase']} .*but it should be halfway"):
        release.until(lambda _: False, "halfway", timeout=60.0)


def test_another_versions_success_is_no_end(release: Following, recorder: Recorder) -> None:
    recorder.see_rollout(rollout(phase="Stable", stable={"version": "v1"}))
    with pytest.raises(StoryError, match="not promoted in time; it is Stable"):
        release.until(lambda _: False, "promoted", timeout=0.0)


def test_users_are_unknown_while_prometheus_does_not_answer(release: Following) -> None:
    assert release.users() == Users(0.0, 0.0)


def test_the_route_is_noted_when_its_weights_change(recorder: Recorder) -> None:
    for weight in (0, 0, 10, 10, 0):
        backends = [{"name": "new", "weight": weight}, {"name": "old", "weight": 100 - weight}]
        recorder.see_route({"spec": {"rules": [{"backendRefs": backends}]}})
    assert [change.weights["new"] for change in recorder.changes()] == [0, 10, 0]
