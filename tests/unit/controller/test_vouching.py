"""Does the API server vouch for authors? Only a policy that stands, refuses and leaves nobody out does."""

from __future__ import annotations

import copy
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from modelrollout.controller.vouching import AUTHOR_POLICY, DECISION_POLICY, why_not

_POLICIES: Final = Path(__file__).parents[3] / "manifests" / "policies"
_NOW: Final = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


def _shipped(file: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Policy and binding of a file, as an API server keeps them since a minute."""
    policy, binding = yaml.safe_load_all((_POLICIES / file).read_text(encoding="utf-8"))
    for one in (policy, binding):
        one["metadata"]["creationTimestamp"] = (_NOW - timedelta(minutes=1)).isoformat()
    return policy, binding


@pytest.mark.parametrize(("name", "file"), [(DECISION_POLICY, "decisions.yaml"), (AUTHOR_POLICY, "author.yaml")])
def test_detail_23_what_is_shipped_vouches(name: str, file: str) -> None:
    policy, binding = _shipped(file)
    assert why_not(name, policy, [binding], _NOW) == ""
    binding["spec"]["matchResources"] = {"matchPolicy": "Equivalent", "namespaceSelector": {}, "objectSelector": {}}
    policy["spec"]["matchConstraints"] |= {"matchPolicy": "Equivalent", "namespaceSelector": {}, "objectSelector": {}}
    assert why_not(name, policy, [binding], _NOW) == "", "the API server fills that in"


@pytest.mark.parametrize(
    ("where", "change", "says"),
    [
        ("policy", {"failurePolicy": "Ignore"}, "lets requests through"),
        ("policy", {"matchConditions": [{"name": "a", "expression": "false"}]}, "leaves requests out"),
        ("policy", {"matchConstraints": {"namespaceSelector": {"matchLabels": {"a": "b"}}}}, "leaves requests out"),
        ("policy", {"matchConstraints": {"excludeResourceRules": [{"resources": ["*"]}]}}, "leaves requests out"),
        ("binding", {"validationActions": ["Warn", "Audit"]}, "does not deny"),
        ("binding", {"policyName": "another"}, "is missing"),
        ("binding", {"matchResources": {"namespaceSelector": {"matchLabels": {"a": "b"}}}}, "leaves requests out"),
    ],
)
def test_detail_23_a_policy_that_lets_some_pass_vouches_for_nobody(where: str, change: Any, says: str) -> None:
    policy, binding = (copy.deepcopy(one) for one in _shipped("decisions.yaml"))
    (policy if where == "policy" else binding)["spec"].update(change)
    why = why_not(DECISION_POLICY, policy, [binding], _NOW)
    assert says in why
    assert "kubectl apply -k manifests/policies" in why


def test_detail_23_without_a_policy_the_remedy_is_named() -> None:
    assert why_not(DECISION_POLICY, None, [], _NOW).endswith("is missing: kubectl apply -k manifests/policies")


@pytest.mark.parametrize("young", [0, 1])
def test_detail_23_a_policy_vouches_for_nothing_from_before_it_stood(young: int) -> None:
    objects = _shipped("decisions.yaml")
    objects[young]["metadata"]["creationTimestamp"] = (_NOW - timedelta(seconds=9)).isoformat()
    assert "was not in force yet" in why_not(DECISION_POLICY, objects[0], [objects[1]], _NOW)
