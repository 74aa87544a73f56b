"""The series of adopted pods, which carry no label of ours."""

from __future__ import annotations

import re

import pytest

from modelrollout.api.gate import Gate, IdentityBy, MetricIdentity
from modelrollout.api.meta import EXTERNAL
from modelrollout.metrics.base import Arm
from modelrollout.metrics.identity import identity_value, owner_of, pods_pattern, told_by
from modelrollout.metrics.readings import owner

ADOPTED = Arm(EXTERNAL, "recs", "ranker", 8080, {}, its_service="ranker-http")
OURS = Arm("0123456789", "recs", "ranker-0123456789", 80, {})


def _gate(by: IdentityBy) -> Gate:
    ratio = {"bad": "bad_total", "total": "all_total"}
    identity = MetricIdentity(by=by, label="revision" if by is IdentityBy.LABEL else None)
    return Gate.model_validate({"name": "e", "ratio": ratio, "atMost": "1%"}).model_copy(update={"identity": identity})


@pytest.mark.parametrize("by", [IdentityBy.POD_NAME, IdentityBy.POD_LABEL])
def test_detail_3_they_are_told_by_the_names_of_their_pods(by: IdentityBy) -> None:
    label = "" if by is IdentityBy.POD_NAME else "modelrollout_io_revision"
    old = {"pod": "ranker-6d8f9c7b5-x2x4z"}
    new = {"pod": "ranker-0123456789-6d8f9c7b5-x2x4z", "modelrollout_io_revision": "0123456789"}
    assert owner_of(old, label) == owner(_gate(by), ADOPTED) == "ranker"
    assert owner_of(new, label) == owner(_gate(by), OURS)
    assert told_by(_gate(by).identity, ADOPTED) == f'pod=~"{pods_pattern(ADOPTED)}"'
    assert re.fullmatch(pods_pattern(ADOPTED), old["pod"])
    assert not re.fullmatch(pods_pattern(ADOPTED), new["pod"]), "our pods' names begin like theirs"


def test_detail_3_a_gateway_names_them_by_their_own_service_and_port() -> None:
    assert identity_value(_gate(IdentityBy.SERVICE).identity, ADOPTED) == "recs_ranker-http_8080"
    assert identity_value(_gate(IdentityBy.SERVICE).identity, OURS) == "recs_ranker-0123456789_80"


def test_detail_3_whoever_counts_by_revision_calls_them_external() -> None:
    assert owner(_gate(IdentityBy.LABEL), ADOPTED) == "external"
