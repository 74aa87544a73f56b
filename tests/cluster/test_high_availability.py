"""Two replicas, one decides: leaders that are killed, stopped, frozen, or cannot keep their Lease."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from localcluster import LocalCluster, eventually
from tests.support.operator import ROOT, Operator
from tests.support.scene import Scene, api, let_pass

_LEASE = "/apis/coordination.k8s.io/v1/namespaces/modelrollout-system/leases/modelrollout"
_DECIDES = "this operator decides from now on"


@dataclass
class Pair:
    """Two replicas as they are shipped."""

    cluster: LocalCluster
    leader: Operator
    standby: Operator

    @property
    def lease(self) -> dict[str, Any]:
        """What stands in the Lease."""
        return dict(api(self.cluster).get(_LEASE)["spec"])

    def ready(self) -> None:
        """Both run, and the roles are as the Lease says, whatever a test before left behind."""
        for one in (self.leader, self.standby):
            if not one.is_alive:
                one.start()
        eventually(lambda: self.lease.get("holderIdentity") in self._names, "one of the two to lead")
        if self.lease["holderIdentity"] == self.standby.identity:
            self.leader, self.standby = self.standby, self.leader

    @property
    def _names(self) -> tuple[str, str]:
        return self.leader.identity, self.standby.identity

    def await_takeover(self, since: float) -> float:
        """Wait until the standby has the Lease; seconds. The roles change."""
        eventually(lambda: self.lease.get("holderIdentity") == self.standby.identity, "the standby to take over")
        seconds = time.monotonic() - since
        self.leader, self.standby = self.standby, self.leader
        return seconds


@pytest.fixture(scope="module")
def pair(installed: LocalCluster) -> Iterator[Pair]:
    """One that decides and one that stands by."""
    both = Pair(installed, Operator(installed, identity="pod-a"), Operator(installed, identity="pod-b"))
    both.leader.start()
    both.standby.start()
    yield both
    for one in (both.leader, both.standby):
        if one.is_alive:
            os.kill(one.pid, signal.SIGCONT)
        one.kill()


def test_detail_28_a_standby_finishes_what_a_killed_leader_began(pair: Pair, namespace: str) -> None:
    pair.ready()
    scene = Scene(pair.cluster, namespace)
    scene.serve_first()
    with scene.users(40):
        scene.apply("2", ERRORS="0.5")
        began = scene.until(lambda status: status.get("failed"), "the rollback in status", timeout=90)
        killed = time.monotonic()
        pair.leader.kill()
        seconds = pair.await_takeover(killed)
        status = scene.reach("RolledBack", version="1", timeout=60)
    print(f"\n  kill -9 of the leader → the standby has the Lease: {seconds:.1f} s")
    assert seconds < 15.0, "5 s of lease and half a second until the next look"
    assert began["decidedBy"]["holder"] == pair.standby.identity
    assert status["decidedBy"]["holder"] == pair.leader.identity
    assert status["decidedBy"]["epoch"] > began["decidedBy"]["epoch"]
    assert [entry["outcome"] for entry in status["history"]] == ["RolledBack", "Promoted"]
    eventually(lambda: list(scene.weights.values()) == [100], "stable alone in the route")


def test_detail_28_a_leader_that_stops_hands_over_at_once(pair: Pair, namespace: str) -> None:
    pair.ready()
    began = time.monotonic()
    assert pair.leader.stop() == 0
    ended = time.monotonic() - began
    assert pair.lease.get("holderIdentity") in (None, pair.standby.identity), "it is given back before the end"
    seconds = pair.await_takeover(began)
    print(f"\n  SIGTERM → the process has ended: {ended:.1f} s, the standby has the Lease: {seconds:.1f} s")
    assert "Traceback" not in pair.standby.log()


def test_detail_28_a_leader_that_was_frozen_raises_nothing_when_it_wakes(pair: Pair, namespace: str) -> None:
    """It is frozen as soon as its status says more weight, so that the raise itself is still to come; meanwhile the
    other one takes everything back on a human's word."""
    pair.ready()
    scene = Scene(pair.cluster, namespace)
    scene.serve_first()
    with scene.users(40) as users:
        scene.apply("2")
        scene.until(lambda status: status.get("weight") == 50, "half the traffic", timeout=90)
        os.kill(pair.leader.pid, signal.SIGSTOP)
        frozen = pair.leader
        pair.await_takeover(time.monotonic())
        scene.decide("abort")
        scene.until(lambda status: status.get("failed"), "the abort", timeout=60)
        eventually(lambda: 50 not in scene.weights.values(), "all traffic to be back")
        version = scene.route["metadata"]["resourceVersion"]
        marked = len(frozen.log())
        os.kill(frozen.pid, signal.SIGCONT)
        eventually(lambda: "does not decide any more" in frozen.log()[marked:], "the frozen one to notice")
        let_pass(2.0)
        assert 50 not in scene.weights.values()
        if scene.route["metadata"]["resourceVersion"] != version:  # the new leader took the candidate out meanwhile
            assert f'"epoch": {pair.lease["leaseTransitions"]}' in str(scene.route["metadata"]["annotations"])
        status = scene.reach("RolledBack", version="1")
    assert users.lost == 0, users.codes
    assert status["decidedBy"]["holder"] == pair.leader.identity


def test_detail_28_without_its_lease_nobody_decides_until_it_is_back(pair: Pair, namespace: str) -> None:
    pair.ready()
    scene = Scene(pair.cluster, namespace)
    scene.serve_first()
    marked = len(pair.leader.log()), len(pair.standby.log())
    pair.cluster.kubectl("-n", "modelrollout-system", "delete", "rolebinding", "modelrollout-lease")
    try:
        eventually(lambda: "does not decide any more" in pair.leader.log()[marked[0] :], "the leader to stop")
        scene.apply("2")
        let_pass(1.5)
        assert scene.status["stable"]["version"] == "1"
        assert scene.status.get("candidate") is None, "nobody began it"
        assert "forbidden" in pair.leader.log()[marked[0] :], "the reason is said"
    finally:
        pair.cluster.kubectl("apply", "-f", str(ROOT / "manifests" / "base" / "rbac.yaml"))
    eventually(
        lambda: any(_DECIDES in one.log()[at:] for one, at in zip((pair.leader, pair.standby), marked, strict=True)),
        "one of them to decide again",
    )
    with scene.users(40):
        scene.reach("Stable", version="2", timeout=90)


def test_detail_28_two_operators_by_mistake_do_no_harm_and_one_steps_back(pair: Pair, namespace: str) -> None:
    """The third knows nothing of the Lease."""
    pair.ready()
    scene = Scene(pair.cluster, namespace)
    scene.serve_first()
    marked = len(pair.leader.log()), len(pair.standby.log())
    stray = Operator(pair.cluster, identity="stray")
    stray.arguments.append("--no-leader-elect")
    stray.start()
    try:
        with scene.users(40) as users:
            scene.apply("2")
            status = scene.reach("Stable", version="2", timeout=90)
        assert users.lost == 0, users.codes
        assert [entry["outcome"] for entry in status["history"]] == ["Promoted", "Promoted"]
        said = pair.leader.log()[marked[0] :] + pair.standby.log()[marked[1] :]
        assert "another operator decides here too: stray with lease none" in said
    finally:
        stray.kill()


def test_detail_28_a_restarted_container_does_not_wait_for_its_own_lease(pair: Pair) -> None:
    pair.leader.kill()
    pair.standby.kill()
    again = Operator(pair.cluster, identity="pod-c")
    again.arguments += ["--lease-seconds", "120"]
    eventually(lambda: not pair.lease.get("holderIdentity") or _is_over(pair), "the last one's lease to run out")
    again.start()
    eventually(lambda: pair.lease["holderIdentity"] == "pod-c", "the first container to decide")
    epoch = pair.lease["leaseTransitions"]
    again.kill()
    again.start()
    eventually(lambda: pair.lease["leaseTransitions"] == epoch + 1, "the second one to decide", timeout=60)
    again.stop()  # it gives its long lease back, which the tests after this would have to wait for


def _is_over(pair: Pair) -> bool:
    renewed = pair.lease["renewTime"]
    let_pass(pair.lease["leaseDurationSeconds"])
    return bool(pair.lease["renewTime"] == renewed)
