"""Real requests through the gateway, counted by the revision that answered."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from typing import TYPE_CHECKING, Any

from localcluster import LocalCluster, eventually
from tests.support.scene import Scene
from tests.support.users import count_by_revision

if TYPE_CHECKING:
    from tests.support.operator import Operator

_REQUESTS = 1500


def _count(scene: Scene, requests: int = _REQUESTS) -> Counter[str]:
    found = asyncio.run(count_by_revision(scene.cluster.gateway_url, scene.host, requests))
    assert sum(found.values()) == requests
    assert found[""] == 0, "requests that nobody answered"
    return found


def _assert_share(found: Counter[str], revision: str, weight: int) -> None:
    """Within four standard errors of the weight asked; exact at 0 and 100."""
    total, share = sum(found.values()), weight / 100
    error = math.sqrt(share * (1 - share) / total)
    assert abs(found[revision] / total - share) <= 4 * error, f"{found[revision]} of {total} at {weight} %"


def test_each_weight_is_what_users_get(cluster: LocalCluster, operator: Operator, namespace: str) -> None:
    scene = Scene(cluster, namespace)

    def by_hand(spec: dict[str, Any]) -> None:
        spec["steps"] = [{"weight": 5, "hold": "1h"}, {"weight": 50, "hold": "1h"}]
        spec["gates"] = []

    def held(spec: dict[str, Any]) -> None:
        by_hand(spec)
        spec["paused"] = True

    scene.serve_first(change=by_hand)
    first = scene.revision("1")
    _assert_share(_count(scene, 200), first, 100)

    scene.apply("2", change=held)
    eventually(lambda: sorted(scene.weights.values()) == [0, 100], "the candidate in the route at weight 0")
    _assert_share(_count(scene, 500), first, 100)
    scene.reach("Paused")

    scene.apply("2", change=by_hand)
    scene.at_weight(5)
    second = scene.revision("2")
    _assert_share(_count(scene), second, 5)

    scene.decide("promote", comment="looks good")
    scene.at_weight(50)
    _assert_share(_count(scene), second, 50)

    scene.decide("promote")
    scene.reach("Stable", version="2")
    _assert_share(_count(scene, 500), second, 100)


def test_no_request_is_lost(cluster: LocalCluster, operator: Operator, namespace: str) -> None:
    """Through a good rollout, a rollback, and a return to the previous version, which is kept warm."""
    scene = Scene(cluster, namespace)
    scene.serve_first()
    with scene.users(40) as users:
        scene.apply("2")
        scene.reach("Stable", version="2")
        eventually(lambda: len(scene.weights) == 1, "the first version to leave the route")
        assert users.lost == 0, users.codes
        assert users.codes[500] == 0

        scene.apply("3", ERRORS="0.8")
        scene.reach("RolledBack", version="2")
        third = scene.revision("3")
        bad = users.revisions[third]
        assert bad > 0
        eventually(lambda: len(scene.weights) == 1, "the bad version to leave the route")
        assert users.lost == 0, users.codes

        answered_by_first = users.revisions[scene.revision("1")]
        scene.apply("1")
        scene.reach("Stable", version="1")
        eventually(lambda: users.revisions[scene.revision("1")] > answered_by_first + 20, "requests of version 1")
        eventually(lambda: len(scene.weights) == 1, "the second version to leave the route")
    assert users.lost == 0, users.codes
    assert users.revisions[""] == 0
    assert users.revisions[third] == bad, "a rolled-back version gets nothing, not even once"
