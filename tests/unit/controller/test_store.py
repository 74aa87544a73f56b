"""What is remembered of rollouts and decisions, whatever order the news come in."""

from __future__ import annotations

from typing import Any

import pytest

from modelrollout.api.status import ModelRolloutStatus
from modelrollout.controller.store import Store
from tests.support.world import spec

Body = dict[str, Any]
KEY = ("recs", "ranker")


def _rollout(version: int, *, uid: str = "u-1", generation: int = 1, **metadata: Any) -> Body:
    own = {"namespace": "recs", "name": "ranker", "uid": uid, "resourceVersion": str(version), "generation": generation}
    return {"metadata": own | metadata, "spec": {}}


def _decision(name: str, version: int, **more: Any) -> Body:
    metadata = {"namespace": "recs", "name": name, "uid": name, "resourceVersion": str(version)}
    metadata["creationTimestamp"] = "2026-11-21T12:00:00Z"
    return {"metadata": metadata, "spec": {"rollout": "ranker", "action": "pause"}} | more


def test_only_news_that_matter_are_news() -> None:
    store = Store()
    assert store.put(_rollout(1))
    assert not store.put(_rollout(2)), "our own status write"
    assert store.put(_rollout(3, generation=2))
    assert store.put(_rollout(4, generation=2, deletionTimestamp="2026-11-21T12:00:00Z"))
    assert store.put(_rollout(5, generation=2, finalizers=["x"]))


def test_late_news_do_not_undo_what_an_own_write_returned() -> None:
    store = Store()
    store.put(_rollout(9, generation=2))
    assert not store.put(_rollout(8, generation=1))
    found = store.rollout(KEY)
    assert found is not None
    assert found["metadata"]["resourceVersion"] == "9"


def test_an_object_of_the_same_name_is_another_one() -> None:
    store = Store()
    store.put(_rollout(9))
    store.set_live(KEY, "u-1", ModelRolloutStatus(weight=5))
    assert store.put(_rollout(3, uid="u-2"))
    assert store.live(KEY, "u-1") is None
    assert store.live(KEY, "u-2") is None


def test_the_dead_stay_dead() -> None:
    """The answer to our last status write comes after the news of the deletion."""
    store = Store()
    store.put(_rollout(5))
    store.drop(KEY, "u-1")
    assert not store.put(_rollout(6))
    assert store.rollout(KEY) is None
    assert store.put(_rollout(7, uid="u-2"))
    store.drop(KEY, "u-1")
    assert store.rollout(KEY) is not None, "news of the old one's end do not end the new one"


def test_decisions_come_in_the_order_of_their_creation() -> None:
    store = Store()
    for name, version in (("a", 12), ("b", 9), ("c", 101)):
        assert store.put_decision(_decision(name, version)) == KEY
    assert [one.name for one in store.decisions(KEY)] == ["b", "a", "c"]
    store.drop_decision(KEY, "a")
    store.put_decision(_decision("b", 13, status={"state": "Applied"}))
    assert [one.name for one in store.decisions(KEY)] == ["c"]


def test_a_decision_that_cannot_be_read_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    store = Store()
    store.put_decision(_decision("odd", 1, spec={"rollout": "ranker", "action": "dance"}))
    assert store.decisions(KEY) == []
    assert store.decisions(KEY) == []
    assert len(caplog.records) == 1
    assert "cannot read the decision odd" in caplog.text


def test_who_wrote_the_spec_is_kept_and_the_rest_of_the_managed_fields_is_not() -> None:
    body = _rollout(1)
    body["metadata"]["managedFields"] = [
        {"manager": "argocd-controller", "time": "2026-11-21T10:00:00Z", "fieldsV1": {"f:spec": {"f:model": {}}}},
        {"manager": "modelrollout", "time": "2026-11-21T10:01:00Z", "fieldsV1": {"f:status": {"f:phase": {}}}},
    ]
    store = Store()
    store.put(body)
    kept = store.rollout(KEY)
    assert kept is not None
    (entry,) = kept["metadata"]["managedFields"]
    assert (entry["manager"], entry["fieldsV1"]) == ("argocd-controller", {"f:spec": {}})


def test_a_rollout_is_read_once_for_each_state_and_its_spec_once_for_each_generation() -> None:
    def body(version: int, generation: int) -> Body:
        found = _rollout(version, generation=generation, creationTimestamp="2026-11-21T12:00:00Z")
        return found | {"spec": spec(), "status": {"weight": version}}

    store = Store()
    assert store.parsed(KEY) is None
    store.put(body(1, 1))
    first = store.parsed(KEY)
    assert first is not None and store.parsed(KEY) is first
    store.put(body(2, 1))
    second = store.parsed(KEY)
    assert second is not None and (second.spec is first.spec, second.status.weight) == (True, 2)
    store.put(body(3, 2))
    third = store.parsed(KEY)
    assert third is not None and third.spec is not first.spec
    store.put(body(4, 2) | {"spec": {}})
    with pytest.raises(ValueError, match="model"):
        store.put(body(5, 3) | {"spec": {}})
        store.parsed(KEY)


def test_who_uses_a_route_is_known_through_every_change() -> None:
    store = Store()
    attached = {"traffic": {"gatewayAPI": {"route": {"name": "shared", "rule": "a"}}}}
    store.put(_rollout(1))
    assert store.routed(KEY) == [KEY], "its own route has its name"
    store.put(_rollout(2, generation=2) | {"spec": attached})
    assert store.routed(KEY) == []
    assert store.routed(("recs", "shared")) == [KEY]
    store.put(_rollout(3, generation=2) | {"spec": attached})
    store.drop(KEY, "u-1")
    assert store.routed(("recs", "shared")) == []


def test_detail_28_a_status_that_another_process_wrote_is_news() -> None:
    store = Store()
    ours = {"status": {"decidedBy": {"epoch": 3, "holder": "us"}}}
    store.put(_rollout(1) | ours)
    assert not store.put(_rollout(2) | ours)
    assert store.put(_rollout(3) | {"status": {"decidedBy": {"epoch": 4, "holder": "next"}}})
    last = store.last_decider()
    assert last is not None
    assert (last.epoch, last.holder) == (4, "next")


def test_detail_28_a_new_list_also_tells_what_is_gone() -> None:
    """What the watch has not brought yet when another process decided until now."""
    store = Store()
    store.put(_rollout(5))
    store.set_live(KEY, "u-1", ModelRolloutStatus())
    other = _rollout(6, uid="u-2")
    other["metadata"]["name"] = "vanished"
    store.put(other)
    young = _rollout(99, uid="u-3")
    young["metadata"]["name"] = "young"
    store.put(young)
    store.put_decision(_decision("pause", 3))
    store.put_decision(_decision("old", 4))
    answered = _decision("old", 8, status={"state": "Done"})
    store.renew(([_rollout(9, generation=4)], 10), ([answered, _decision("new", 7)], 10))
    assert set(store.every()) == {KEY, ("recs", "young")}, "what came after the list was made stays"
    found = store.rollout(KEY)
    assert found is not None
    assert found["metadata"]["generation"] == 4
    assert [one.name for one in store.decisions(KEY)] == ["new"]
    store.forget_decided()
    assert store.live(KEY, "u-1") is None
