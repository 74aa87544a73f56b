"""What people say, from the object they create to the answer on it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from localcluster import LocalCluster, eventually
from tests.support.scene import Scene, changed, let_pass, together

if TYPE_CHECKING:
    from tests.support.operator import Operator

_HELD = changed(gates=[], steps=[{"weight": 20, "hold": "1h"}, {"weight": 50, "hold": "1h"}])


def test_every_verb(cluster: LocalCluster, operator: Operator, namespace: str) -> None:
    scene = Scene(cluster, namespace)

    def say(action: str, **fields: object) -> tuple[str, str]:
        answer = scene.answer(scene.decide(action, **fields))
        return answer["state"], answer["message"]

    scene.serve_first(change=_HELD)
    assert say("pause") == ("Refused", "nothing is being rolled out")

    scene.apply("2", change=_HELD)
    scene.at_weight(20)
    assert say("pause", comment="lunch") == ("Applied", "version 2 stays at 20 %")
    status = scene.reach("Paused", reason="PausedByDecision")
    assert "kim" in status["message"]
    assert "lunch" in status["message"]
    assert say("resume")[0] == "Applied"
    scene.reach("Progressing")

    state, message = say("promote", revision="0123456789")
    assert (state, "0123456789 is meant" in message) == ("Refused", True)
    assert say("promote")[0] == "Applied"
    scene.at_weight(50)
    assert say("promote", full=True)[0] == "Applied"
    scene.reach("Stable", version="2")

    assert say("undo", comment="looks odd")[0] == "Applied"
    status = scene.until(lambda s: s["stable"]["version"] == "1" and s["phase"] == "RolledBack", "the undo")
    assert "spec names" in status["message"]
    assert scene.rollout["spec"]["model"]["version"] == "2"

    scene.apply("3", change=_HELD)
    scene.at_weight(20)
    assert say("abort", comment="the boss calls")[0] == "Applied"
    status = scene.reach("RolledBack", version="1")
    assert status["failed"]["reason"] == "Aborted"
    assert "the boss calls" in status["failed"]["message"]
    assert say("retry")[0] == "Applied"
    scene.at_weight(20)
    assert say("promote", full=True)[0] == "Applied"
    scene.reach("Stable", version="3")

    kept = scene.every("rolloutdecisions")
    assert len(kept) == 10, "all of them remain, as a record"
    assert all(one["status"]["state"] in ("Applied", "Refused") for one in kept)
    assert all(one["status"]["at"] for one in kept)
    scene.kubectl("delete", "mro", "ranker")
    assert len(scene.every("rolloutdecisions")) == 10


def test_too_late_or_for_nobody(cluster: LocalCluster, operator: Operator, namespace: str) -> None:
    scene = Scene(cluster, namespace)
    scene.serve_first(change=_HELD)
    operator.kill()
    late = scene.decide("pause", expiresAfter="1s")
    let_pass(2.5)
    operator.start()
    answer = scene.answer(late)
    assert answer["state"] == "Expired"
    assert "could not be acted on before" in answer["message"]

    missing = Scene(cluster, namespace, "nobody")
    answer = missing.answer(missing.decide("abort"))
    assert answer["state"] == "Refused"
    assert answer["message"] == f"there is no ModelRollout nobody in namespace {namespace}"

    early = Scene(cluster, namespace, "early")
    operator.kill()
    old = early.decide("pause")
    let_pass(1.1)
    early.apply("1", change=_HELD)
    operator.start()
    answer = early.answer(old)
    assert answer["state"] == "Expired"
    assert "older than the ModelRollout" in answer["message"]


def test_a_decision_is_done_once(cluster: LocalCluster, operator: Operator, namespace: str) -> None:
    """Killed right after the decision: it is carried out by the next one, and only once."""
    scene = Scene(cluster, namespace)
    scene.serve_first(change=_HELD)
    scene.apply("2", change=_HELD)
    scene.at_weight(20)
    operator.kill()
    decisions = [scene.decide("promote"), scene.decide("pause")]
    operator.start()
    let_pass(0.3)
    operator.kill()
    operator.start()
    answers = [scene.answer(one) for one in decisions]
    assert [one["state"] for one in answers] == ["Applied", "Applied"], [one["message"] for one in answers]
    scene.until(lambda s: s.get("paused"), "the pause, which was said last")
    assert scene.status["step"]["number"] <= 2
    assert len(scene.status["handled"]) == 2


def test_rule_11_one_object_stops_the_line_and_nothing_that_saves_users(
    cluster: LocalCluster, operator: Operator, namespace: str
) -> None:
    """A RolloutFreeze, in the operator's own rights: seen at once, named in status, passed only by an override that is
    on record, over when its time is; a breach rolls back meanwhile."""
    held, bad = Scene(cluster, namespace, "held"), Scene(cluster, namespace, "bad")
    quick = changed(gates=[], steps=[{"weight": 20, "hold": "2s"}, {"weight": 50, "hold": "1h"}])
    together(lambda: held.serve_first(change=quick), bad.serve_first)
    _freeze(cluster, "line", reason="black friday", author="kim", namespaces=[namespace])
    together(lambda: held.apply("2", change=quick), lambda: bad.apply("2", ERRORS="0.8"))
    frozen = [scene.until(lambda s: s["reason"] == "Frozen", "the freeze") for scene in (held, bad)]
    assert [status["weight"] for status in frozen] == [0, 0]
    assert "RolloutFreeze line by kim: black friday" in frozen[0]["message"]
    assert "kubectl delete mrf line" in frozen[0]["next"]
    assert held.deployment("2")["status"]["readyReplicas"] >= 2, "it has started all the same"

    refused = held.answer(held.decide("promote"))
    assert refused["state"] == "Refused"
    assert "--override-freeze" in refused["message"]
    over = {"overrideFreeze": True, "comment": "users wait for it"}
    with bad.users(40):
        for scene in (held, bad):
            done = scene.answer(scene.decide("promote", **over))
            assert done["state"] == "Applied"
            assert "went on over RolloutFreeze line" in done["message"]
        assert held.at_weight(20)["overrides"][0]["comment"] == "users wait for it"
        assert "users wait for it" in bad.reach("RolledBack", version="1")["history"][0]["overrides"][0]
    held.until(lambda s: s["reason"] == "Frozen", "the next step to wait")
    assert any(reason == "Frozen" for reason, _ in held.events())

    operator.kill()
    _freeze(cluster, "line", reason="black friday", until=_in_seconds(3))
    operator.start()
    held.until(lambda s: s["weight"] == 50, "the end of the freeze", timeout=40)
    cluster.kubectl("delete", "rolloutfreeze", "line")


def _freeze(cluster: LocalCluster, name: str, **spec: object) -> None:
    body = {"apiVersion": "modelrollout.io/v1alpha1", "kind": "RolloutFreeze", "metadata": {"name": name}, "spec": spec}
    cluster.kubectl("apply", "-f", "-", input=json.dumps(body))


def _in_seconds(seconds: float) -> str:
    return f"{datetime.now(UTC) + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%SZ}"


def test_a_frozen_namespace(cluster: LocalCluster, operator: Operator, namespace: str) -> None:
    """Steps up stop, with the reason that the label's owner gave; a rollback goes on all the same."""
    held, bad = Scene(cluster, namespace, "held"), Scene(cluster, namespace, "bad")
    quick = changed(gates=[], steps=[{"weight": 20, "hold": "2s"}, {"weight": 50, "hold": "1s"}])
    together(lambda: held.serve_first(change=quick), bad.serve_first)
    with bad.users(40):
        held.apply("2", change=quick)
        held.at_weight(20)
        cluster.kubectl("annotate", "namespace", namespace, "modelrollout.io/freeze-reason=black friday")
        cluster.kubectl("label", "namespace", namespace, "modelrollout.io/freeze=true")
        status = held.until(lambda s: s["reason"] == "Frozen", "the freeze")
        assert "black friday" in status["message"]
        refused = held.answer(held.decide("promote"))
        assert refused["state"] == "Refused"
        assert "frozen" in refused["message"]
        assert held.answer(held.decide("abort"))["state"] == "Applied"
        held.reach("RolledBack", version="1")

        bad.apply("2", ERRORS="0.8")
        frozen = bad.until(lambda s: s["reason"] == "Frozen" or s["weight"] > 0, "the freeze of a new one")
        assert frozen["weight"] == 0
        cluster.kubectl("label", "namespace", namespace, "modelrollout.io/freeze-")
        bad.reach("RolledBack", version="1")
    events = json.dumps(held.events())
    assert "DecisionRefused" in events
    eventually(lambda: list(bad.weights.values()) == [100], "all traffic on stable")
