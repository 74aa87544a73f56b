"""What somebody with rights in one namespace may try in order to reach what is not theirs, where admission does not
decide it: each way once. What the API server refuses is in tests/cluster."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any, cast

import pytest

from modelrollout.api.grammar import parse_selector
from modelrollout.api.meta import ANNOTATION_APPLIED, LABEL_NAME, LABEL_REVISION, LABEL_ROLE
from modelrollout.api.objects import Rollout, read_status
from modelrollout.controller.reports import reports_of
from modelrollout.kube.client import CONFIG_MAPS, DEPLOYMENTS, SECRETS, Invalid, Kube
from modelrollout.kube.reflector import Reflector
from modelrollout.metrics.answers import Question
from modelrollout.metrics.snapshot import Want
from modelrollout.notify.base import DeliveryError
from modelrollout.notify.config import Config
from modelrollout.notify.directory import Directory
from modelrollout.notify.http import Http
from modelrollout.traffic.gateway_api import find_place, view_of
from modelrollout.workloads.adopted import AdoptedWorkload
from modelrollout.workloads.deployment import DeploymentWorkload
from tests.support.world import spec

Body = dict[str, Any]
REVISION = "0123456789"
ELSEWHERE = "../../kube-system/deployments/coredns"


class _Refusing:
    """A client through which nothing may go."""

    async def get(self, path: str, **_: str) -> Body:
        raise AssertionError(f"asked for {path}")

    async def merge_patch(self, path: str, body: Body) -> Body:
        raise AssertionError(f"{body} for {path}")


class _Copies:
    """A reflector's copy of some objects of the namespace."""

    def __init__(self, *objects: Body) -> None:
        self._objects = objects

    def labelled(self, namespace: str, value: str) -> list[Body]:
        return [one for one in self._objects if one["metadata"]["labels"].get(LABEL_NAME) == value]

    def get(self, namespace: str, name: str) -> Body | None:
        return next((one for one in self._objects if one["metadata"]["name"] == name), None)


def _rollout(**more: Any) -> Rollout:
    metadata = {"namespace": "recs", "name": "ranker", "uid": "u", "resourceVersion": "1"}
    metadata |= {"creationTimestamp": "2026-11-21T08:00:00Z"}
    return Rollout.parse({"metadata": metadata, "spec": spec() | more})


@pytest.mark.parametrize(
    "name",
    [ELSEWHERE, "..", ".", "a/../b", "a/b", "%2e%2e", "a%2fb", "x?watch=1", "x#y", "x;y", "x\n", "a\\b", "ö", ""],
)
def test_detail_30_a_name_is_a_name_and_no_way_to_another_place(name: str) -> None:
    """Whatever a manifest says, a request never leaves the kind and the namespace that it is meant for."""
    for resource in (DEPLOYMENTS, SECRETS, CONFIG_MAPS):
        if name:
            with pytest.raises(Invalid, match="is not the name of an object"):
                resource.path("recs", name)
        with pytest.raises(Invalid, match="is not the name of an object"):
            resource.path(name or "/", "x")


async def test_detail_30_a_version_does_not_lead_a_report_out_of_the_namespace() -> None:
    """A version is free text, and stands in the ConfigMap's name."""
    gate = {"name": "auc", "report": {"configMap": "{version}", "metric": "auc"}, "atLeast": "0.9"}
    rollout = _rollout(gates=[gate], model={"version": "../../other/configmaps/evaluation", "uri": ""})
    found = await reports_of(cast(Kube, _Refusing()), rollout, REVISION)
    assert found["auc"].problem is not None
    assert "is not the name of an object" in found["auc"].problem.message


class _Shop(_Refusing):
    """The Service that is adopted, and nothing else."""

    async def get(self, path: str, **_: str) -> Body:
        if path == "/api/v1/namespaces/recs/services/old":
            return {"metadata": {"name": "old"}, "spec": {"ports": [{"port": 80}]}}
        if "labelSelector" in _:
            return {"items": []}
        return await super().get(path)


async def test_detail_30_adopt_scales_nobody_elses_deployment() -> None:
    """Neither is it looked at in another namespace, nor is anything there scaled."""
    rollout = _rollout(adopt={"service": "old", "deployment": ELSEWHERE})
    workload = AdoptedWorkload(cast(Kube, _Shop()))
    found = await workload.observe(rollout, rollout.status)
    assert found is not None
    assert f"there is no Deployment {ELSEWHERE} in namespace recs" in found.adopted.problem
    with pytest.raises(Invalid):
        await workload.scale(rollout, 0)


async def test_detail_30_a_secret_of_another_namespace_is_not_read() -> None:
    entry = {"name": "theirs", "webhook": {"secretRef": {"name": "../../other/secrets/chat", "key": "url"}}}
    rollout = _rollout(notifications=[entry])
    directory = Directory(Config(), cast(Kube, _Refusing()), Http(), Http(guarded=True), ("*",))
    read = directory._secret("recs", rollout.spec.notifications[0].webhook.secret_ref.name, "url")  # type: ignore[union-attr]
    with pytest.raises(DeliveryError, match="is not the name of an object"):
        await read()


class _Leaking(_Refusing):
    async def get(self, path: str, **_: str) -> Body:
        return {"data": {"url": base64.b64encode(b"https://hooks.example.com/T0/secret-path").decode()}}


async def test_detail_30_an_address_that_is_not_allowed_is_told_by_its_host_alone() -> None:
    directory = Directory(Config(), cast(Kube, _Leaking()), Http(), Http(guarded=True), ("chat.example.com",))
    with pytest.raises(DeliveryError) as refused:
        await directory._address("recs", "chat", "url")()
    assert "hooks.example.com" in str(refused.value)
    assert "secret-path" not in str(refused.value)


def _deployment(name: str, **labels: str) -> Body:
    metadata = {"name": name, "labels": {LABEL_NAME: "ranker", **labels}, "annotations": {}}
    return {"metadata": metadata, "spec": {"replicas": 1}}


def _pod(name: str) -> Body:
    labels = {LABEL_NAME: "ranker", LABEL_REVISION: REVISION}
    return {"metadata": {"name": name, "labels": labels, "creationTimestamp": "2026-11-21T08:00:00Z"}}


@pytest.mark.parametrize(
    ("name", "revision"),
    [
        ("payments", REVISION),  # the label is forged: it would have ranker-0123456789 changed
        ("ranker-payments", "payments"),  # the name fits, but no revision is called so: a Service of others is
        ("ranker-external", "external"),
        (f"ranker-{REVISION}", "9876543210"),
        (f"other-{REVISION}", REVISION),
    ],
)
def test_detail_30_forged_labels_make_no_revision(name: str, revision: str) -> None:
    """Whoever may label a Deployment cannot have the operator scale or delete something else by it."""
    forged = _deployment(name, **{LABEL_REVISION: revision, LABEL_ROLE: "retired"})
    copies = [cast(Reflector, _Copies(*some)) for some in ((forged,), (), (), ())]
    workload = DeploymentWorkload(cast(Kube, _Refusing()), *copies)
    assert workload.observe(_rollout()) == {}
    asyncio.run(workload.align(_rollout()))


async def test_detail_30_forged_endpoints_remove_nobodys_service() -> None:
    """Whoever may label an EndpointSlice cannot have the operator delete a Service of another name than ours."""
    labels = {LABEL_NAME: "ranker", LABEL_REVISION: "payments"}
    forged = {"metadata": {"name": "x", "labels": labels}}
    copies = [cast(Reflector, _Copies(*some)) for some in ((), (), (forged,), ())]
    await DeploymentWorkload(cast(Kube, _Refusing()), *copies).align(_rollout())


async def test_detail_30_a_pod_with_borrowed_labels_is_not_replaced() -> None:
    """Whoever may label a pod, but not delete it, cannot have the operator do so."""
    pods = _Copies(_pod("database-0"), _pod(f"ranker-{REVISION}-7d9c5b8f4-x2x4z"))
    workload = DeploymentWorkload(
        cast(Kube, _Refusing()), *(cast(Reflector, one) for one in (_Copies(), pods, _Copies(), _Copies()))
    )
    assert list(workload.pods(_rollout(), REVISION)) == [f"ranker-{REVISION}-7d9c5b8f4-x2x4z"]
    await workload.replace_pod(_rollout(), REVISION, "database-0")


def test_a_forged_status_names_no_object() -> None:
    """Objects are named after the revisions in it. What was forged is not read, and all of it is found again."""
    forged = {"candidate": {"revision": "payments"}, "phase": "Progressing", "weight": 10}
    assert read_status({"status": forged}).candidate is None
    assert read_status({"status": forged | {"candidate": {"revision": REVISION}}}).candidate is not None


@pytest.mark.parametrize(
    "marker",
    [
        "{",
        "[" * 100_000,
        "[1]",
        '{"weights": 1}',
        '{"weights": {"0123456789": "all"}}',
        '{"weights": {"0123456789": null}}',
        '{"weights": {"0123456789": Infinity}}',
        '{"weights": {"0123456789": NaN}, "total": "many"}',
        '{"weights": {"0123456789": 1e400}, "total": -100}',
        json.dumps({"weights": {"x" * 10_000: 10**400}, "total": [10**400], "revision": {}, "decision": []}),
    ],
)
def test_detail_1_a_forged_marker_stops_nobody(marker: str) -> None:
    """Whoever may annotate the route could otherwise keep the operator from ever lowering a weight again."""
    backend = {"name": f"ranker-{REVISION}", "weight": 100}
    rules = [{"backendRefs": [backend, {"name": "other", "weight": 100}]}]
    route = {"metadata": {"annotations": {ANNOTATION_APPLIED: marker}}, "spec": {"rules": rules}}
    place = find_place(route, "ranker", None)
    seen = view_of(route, place, "ranker", shared=False)
    assert dict(seen.weights) == {REVISION: 100}
    assert seen.marker is None or set(seen.marker.weights.values()) <= {0}


@pytest.mark.parametrize(
    "text",
    [
        'q_total{namespace="other"}',
        'q_total{ namespace =~".*"}',
        'q_total{a="b",namespace!="recs"}',
        'q_total{a="b" , namespace!~"recs"}',
        'q_total{a="b"} or q_total',
        'q_total{a="b"}) or (q_total{namespace="other"}',
        'q_total{a="}",b="c"} or vector(1)',
        'q_total{a="b"}[5m]',
        'q_total{a="b"} offset 5m',
        'q_total{a="b"} @ 0',
        "q_total{a='b'}",
        "q_total{a=`b`}",
        'q_total{"namespace"="other"}',
        '{__name__="q_total"}',
        '{"q_total"}',
        'q_total{a="b\nnamespace="other"}',
        'q_total{a="b"} # }',
        'q_total{a="b"}\n',
        'q_total{a="\\"} or q_total{b=""}',
        "sum(q_total)",
        'q_total{näme="b"}',
        'q_total{a="b"}{namespace="other"}',
        "q_total\u00a0{}",
        'q_total{a="b",}',
        "",
    ],
)
def test_detail_30_a_selector_reaches_no_other_namespace(text: str) -> None:
    """Refused, or asked for with the namespace of the rollout and as nothing but matchers."""
    try:
        selector = parse_selector(text)
    except ValueError:
        return
    assert text == 'q_total{a="b",}', "all others are refused"
    question = Question([((Want(selector.name, selector.matchers),), ("recs",))], gone=True)
    assert question.promql.startswith('label_replace(q_total{namespace=~"recs",a="b"},')


def test_detail_30_the_name_cannot_be_given_twice() -> None:
    """``__name__`` among the matchers is refused by Prometheus itself, so it need not be by us; the namespace stays."""
    selector = parse_selector('q_total{__name__=~".+"}')
    text = Want(selector.name, selector.matchers).expressions(["recs"])[0][1]
    assert text == 'q_total{namespace=~"recs",__name__=~".+"}'


def test_the_clock_of_a_forged_annotation_is_no_trap() -> None:
    """Times beyond the calendar are read as no time."""
    forged = _deployment(f"ranker-{REVISION}", **{LABEL_REVISION: REVISION, LABEL_ROLE: "stable"})
    forged["metadata"]["annotations"] = {"modelrollout.io/promoted-at": "0001-01-01T00:00:00+23:59"}
    copies = [cast(Reflector, _Copies(*some)) for some in ((forged,), (), (), ())]
    seen = DeploymentWorkload(cast(Kube, _Refusing()), *copies).observe(_rollout())
    assert seen[REVISION].promoted_at is None
