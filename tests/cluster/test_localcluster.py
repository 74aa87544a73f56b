"""The local cluster itself: pods run, traffic follows routes, breakage looks like breakage."""

import concurrent.futures
import http.client
import json
import math
import time
import urllib.parse
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from localcluster import LocalCluster, eventually

SERVER = Path(__file__).with_name("sample_server.py").read_text(encoding="utf-8")
SIGMAS = 4


def deployment(name: str, *, replicas: int = 1, command: list[str] | None = None, **template: Any) -> dict[str, Any]:
    """A Deployment of the sample server, which answers with NAME."""
    container = {
        "name": "server",
        "image": template.pop("image", "example.com/sample:1"),
        "command": command or ["python", "-c", SERVER],
        "env": [
            {"name": "NAME", "value": name},
            {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        ],
        "ports": [{"name": "http", "containerPort": 9000}],
        "readinessProbe": {"httpGet": {"path": "/healthz", "port": "http"}, "periodSeconds": 1},
        "lifecycle": {"preStop": {"sleep": {"seconds": 1}}},
        **template,
    }
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }


def service(name: str) -> dict[str, Any]:
    """A Service for the Deployment of the same name."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": {"app": name}, "ports": [{"port": 80, "targetPort": "http"}]},
    }


def route(host: str, weights: dict[str, int], cluster: LocalCluster) -> dict[str, Any]:
    """An HTTPRoute that spreads a host over Services."""
    backends = [{"name": name, "port": 80, "weight": weight} for name, weight in weights.items()]
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": "route"},
        "spec": {
            "parentRefs": [{"namespace": cluster.gateway.namespace, "name": cluster.gateway.name}],
            "hostnames": [host],
            "rules": [{"backendRefs": backends}],
        },
    }


def apply(cluster: LocalCluster, namespace: str, *objects: dict[str, Any]) -> None:
    """kubectl apply."""
    manifest = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})
    cluster.kubectl("apply", "-n", namespace, "-f", "-", input=manifest)


def pods(cluster: LocalCluster, namespace: str, name: str) -> list[dict[str, Any]]:
    """The pods of a Deployment."""
    items: list[dict[str, Any]] = json.loads(
        cluster.kubectl("get", "pods", "-n", namespace, "-l", f"app={name}", "-o", "json").stdout
    )["items"]
    return items


def container_status(cluster: LocalCluster, namespace: str, name: str) -> dict[str, Any]:
    """The containerStatus of a Deployment's only pod; empty while there is none."""
    found = [pod["status"].get("containerStatuses") for pod in pods(cluster, namespace, name)]
    return dict(found[0][0]) if found and found[0] else {}


def available(cluster: LocalCluster, namespace: str, *names: str) -> None:
    """Wait until Deployments are completely available."""
    for name in names:
        cluster.kubectl("rollout", "status", f"deployment/{name}", "-n", namespace, "--timeout=30s")


class Caller:
    """Asks the gateway over one connection, as a client of the model would."""

    def __init__(self, cluster: LocalCluster, host: str) -> None:
        self._address = urllib.parse.urlsplit(cluster.gateway_url).netloc
        self._host = host
        self._connection = http.client.HTTPConnection(self._address, timeout=10)

    def ask(self) -> str:
        """The body of a good answer, or the status of another one."""
        self._connection.request("GET", "/", headers={"Host": self._host})
        answer = self._connection.getresponse()
        body = answer.read().decode()
        return body if answer.status == http.client.OK else str(answer.status)


def query(cluster: LocalCluster, promql: str) -> list[dict[str, Any]]:
    """An instant query."""
    url = f"{cluster.prometheus_url}/api/v1/query?{urllib.parse.urlencode({'query': promql})}"
    with urllib.request.urlopen(url, timeout=10) as answer:
        result: list[dict[str, Any]] = json.load(answer)["data"]["result"]
    return result


def test_traffic_reaches_pods_by_weight(cluster: LocalCluster, namespace: str) -> None:
    host = f"{namespace}.example.com"
    apply(
        cluster,
        namespace,
        *(deployment(name) for name in ("stable", "candidate")),
        *(service(name) for name in ("stable", "candidate")),
        route(host, {"stable": 90, "candidate": 10}, cluster),
    )
    available(cluster, namespace, "stable", "candidate")
    caller = Caller(cluster, host)
    eventually(lambda: caller.ask() in {"stable", "candidate"}, "an answer of a pod through the gateway")

    requests = 2000
    counts = Counter(caller.ask() for _ in range(requests))

    assert set(counts) == {"stable", "candidate"}
    expected, deviation = requests * 0.1, math.sqrt(requests * 0.1 * 0.9)
    assert abs(counts["candidate"] - expected) < SIGMAS * deviation


def test_a_new_weight_reaches_traffic_at_once(cluster: LocalCluster, namespace: str) -> None:
    host = f"{namespace}.example.com"
    names = ("stable", "candidate")
    apply(cluster, namespace, *map(deployment, names), *map(service, names))
    apply(cluster, namespace, route(host, {"stable": 1, "candidate": 0}, cluster))
    available(cluster, namespace, *names)
    caller = Caller(cluster, host)
    eventually(lambda: caller.ask() == "stable", "stable to answer")

    apply(cluster, namespace, route(host, {"stable": 0, "candidate": 1}, cluster))

    eventually(lambda: caller.ask() == "candidate", "candidate to answer", timeout=5)
    assert Counter(caller.ask() for _ in range(200)) == {"candidate": 200}


def test_a_pod_is_ready_in_about_a_second(cluster: LocalCluster, namespace: str) -> None:
    begun = time.monotonic()
    apply(cluster, namespace, deployment("quick"))
    available(cluster, namespace, "quick")

    # kubectl itself takes half a second of this; the bound is loose because machines are shared.
    assert time.monotonic() - begun < 8
    (pod,) = pods(cluster, namespace, "quick")
    conditions = {entry["type"]: entry["status"] for entry in pod["status"]["conditions"]}
    assert conditions == dict.fromkeys(
        ("PodScheduled", "PodReadyToStartContainers", "Initialized", "ContainersReady", "Ready"), "True"
    )
    assert pod["status"]["podIP"].startswith("10.99.")


def test_a_crashing_container_backs_off(cluster: LocalCluster, namespace: str) -> None:
    apply(cluster, namespace, deployment("crash", command=["sh", "-c", "echo no model; exit 3"]))

    def backing_off() -> dict[str, Any] | None:
        status = container_status(cluster, namespace, "crash")
        return status if status.get("state", {}).get("waiting", {}).get("reason") == "CrashLoopBackOff" else None

    status = eventually(backing_off, "CrashLoopBackOff")
    assert status is not None
    assert status["lastState"]["terminated"]["exitCode"] == 3
    assert status["lastState"]["terminated"]["reason"] == "Error"
    assert not status["ready"]
    eventually(lambda: container_status(cluster, namespace, "crash").get("restartCount", 0) >= 2, "two restarts")
    (pod,) = pods(cluster, namespace, "crash")
    assert pod["status"]["phase"] == "Running"
    assert "no model" in cluster.logs(namespace, pod["metadata"]["name"])
    assert "no model" in cluster.kubectl("logs", "-n", namespace, pod["metadata"]["name"]).stdout


def test_a_missing_image_is_reported(cluster: LocalCluster, namespace: str) -> None:
    apply(cluster, namespace, deployment("typo", image="missing.example/model:2"))

    def reason() -> str:
        status = container_status(cluster, namespace, "typo")
        return str(status.get("state", {}).get("waiting", {}).get("reason"))

    eventually(lambda: reason() in {"ErrImagePull", "ImagePullBackOff"}, "ErrImagePull")
    eventually(lambda: reason() == "ImagePullBackOff", "ImagePullBackOff")
    (pod,) = pods(cluster, namespace, "typo")
    assert pod["status"]["phase"] == "Pending"


def test_readiness_and_liveness_are_probed(cluster: LocalCluster, namespace: str) -> None:
    switch = {"exec": {"command": ["sh", "-c", "test ! -e unready"]}, "periodSeconds": 1, "failureThreshold": 1}
    alive = {"exec": {"command": ["sh", "-c", "test ! -e dead"]}, "periodSeconds": 1, "failureThreshold": 1}
    script = "rm -f unready dead; sleep 2; touch unready; sleep 3; touch dead; sleep 60"
    apply(
        cluster,
        namespace,
        deployment("moody", command=["sh", "-c", script], readinessProbe=switch, livenessProbe=alive),
    )

    eventually(lambda: container_status(cluster, namespace, "moody").get("ready") is True, "ready")
    eventually(lambda: container_status(cluster, namespace, "moody").get("ready") is False, "unready")
    eventually(lambda: container_status(cluster, namespace, "moody").get("restartCount") == 1, "a restart")


def test_a_startup_probe_holds_readiness_back(cluster: LocalCluster, namespace: str) -> None:
    slow = {"exec": {"command": ["sh", "-c", "test -e started"]}, "periodSeconds": 1, "failureThreshold": 20}
    script = "sleep 1; touch started; exec sleep 60"
    at_once = {"exec": {"command": ["true"]}, "periodSeconds": 1}
    slow_server = deployment("slow", command=["sh", "-c", script], startupProbe=slow, readinessProbe=at_once)
    apply(cluster, namespace, slow_server)

    status = eventually(
        lambda: container_status(cluster, namespace, "slow") if "running" in _state(cluster, namespace) else None,
        "a running container",
    )
    assert status is not None
    assert (status["started"], status["ready"]) == (False, False)
    available(cluster, namespace, "slow")


def _state(cluster: LocalCluster, namespace: str) -> dict[str, Any]:
    return dict(container_status(cluster, namespace, "slow").get("state", {}))


def test_deletion_is_graceful(cluster: LocalCluster, namespace: str) -> None:
    script = "trap 'echo asked to stop; exit 0' TERM; echo up; while true; do sleep 0.1; done"
    apply(cluster, namespace, deployment("polite", command=["sh", "-c", script], readinessProbe=None))
    available(cluster, namespace, "polite")
    (pod,) = pods(cluster, namespace, "polite")
    name = pod["metadata"]["name"]
    eventually(lambda: "up" in cluster.logs(namespace, name), "the process to be up")

    begun = time.monotonic()
    cluster.kubectl("delete", "pod", name, "-n", namespace, "--wait=true")

    assert "asked to stop" in cluster.logs(namespace, name)
    assert 1 <= time.monotonic() - begun < 8, "a second of preStop, and no waiting for the grace period"


def test_a_stubborn_process_is_killed_after_the_grace_period(cluster: LocalCluster, namespace: str) -> None:
    stubborn = deployment("stubborn", command=["sh", "-c", "trap '' TERM; while true; do sleep 0.1; done"])
    template = stubborn["spec"]["template"]["spec"]
    template["terminationGracePeriodSeconds"] = 2
    template["containers"][0] |= {"readinessProbe": None, "lifecycle": None}
    apply(cluster, namespace, stubborn)
    available(cluster, namespace, "stubborn")
    (pod,) = pods(cluster, namespace, "stubborn")

    begun = time.monotonic()
    cluster.kubectl("delete", "pod", pod["metadata"]["name"], "-n", namespace, "--wait=true")

    assert 2 <= time.monotonic() - begun < 10


def test_a_rolling_restart_under_load_loses_no_request(cluster: LocalCluster, namespace: str) -> None:
    host = f"{namespace}.example.com"
    apply(cluster, namespace, deployment("model", replicas=2), service("model"), route(host, {"model": 1}, cluster))
    available(cluster, namespace, "model")
    eventually(lambda: Caller(cluster, host).ask() == "model", "an answer")
    done = False

    def load() -> Counter[str]:
        caller = Caller(cluster, host)
        counts: Counter[str] = Counter()
        while not done:
            counts[caller.ask()] += 1
        return counts

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        loads = [pool.submit(load) for _ in range(4)]
        try:
            cluster.kubectl("rollout", "restart", "deployment/model", "-n", namespace)
            available(cluster, namespace, "model")
            eventually(lambda: len(pods(cluster, namespace, "model")) == 2, "the old pods to be gone")
        finally:
            done = True
        total = sum((load.result() for load in loads), Counter[str]())

    assert set(total) == {"model"}, total
    assert total["model"] > 500


def test_prometheus_sees_pods_and_keeps_its_data(cluster: LocalCluster, namespace: str) -> None:
    apply(cluster, namespace, deployment("scraped"))
    available(cluster, namespace, "scraped")
    selector = f'sample_up{{namespace="{namespace}"}}'

    (series,) = eventually(lambda: query(cluster, selector), "the pod's metric", timeout=20)
    assert series["metric"].keys() == {
        "__name__", "namespace", "pod", "container", "endpoint", "job", "instance",
    }  # fmt: skip
    assert series["metric"]["pod"].startswith("scraped-")
    assert query(cluster, 'up{job="envoy"}')[0]["value"][1] == "1"

    before = float(query(cluster, f"count_over_time({selector}[10m])")[0]["value"][1])
    cluster.stop_prometheus()
    with pytest.raises(OSError):
        query(cluster, "vector(1)")
    cluster.start_prometheus()
    after = eventually(lambda: query(cluster, f"count_over_time({selector}[10m])"), "the old samples")
    assert float(after[0]["value"][1]) >= before


def test_the_api_server_can_be_killed_and_paused(cluster: LocalCluster, namespace: str) -> None:
    cluster.kill_apiserver()
    assert cluster.kubectl("get", "nodes", check=False).returncode != 0
    cluster.start_apiserver()
    cluster.pause_apiserver()
    assert cluster.kubectl("get", "nodes", "--request-timeout=500ms", check=False).returncode != 0
    cluster.resume_apiserver()
    apply(cluster, namespace, deployment("after"))
    available(cluster, namespace, "after")


def test_envoy_serves_on_without_contour(cluster: LocalCluster, namespace: str) -> None:
    host = f"{namespace}.example.com"
    apply(cluster, namespace, deployment("model"), service("model"), route(host, {"model": 1}, cluster))
    available(cluster, namespace, "model")
    caller = Caller(cluster, host)
    eventually(lambda: caller.ask() == "model", "an answer")

    cluster.kill_contour()
    assert [caller.ask() for _ in range(20)] == ["model"] * 20
    cluster.start_contour()
    assert caller.ask() == "model"


def test_a_service_account_may_do_what_its_roles_say(cluster: LocalCluster, namespace: str) -> None:
    cluster.kubectl("create", "serviceaccount", "reader", "-n", namespace)
    config = cluster.service_account_kubeconfig(namespace, "reader")

    def can(verb: str) -> str:
        arguments = ("auth", "can-i", verb, "pods", "-n", namespace, f"--kubeconfig={config}")
        return cluster.kubectl(*arguments, check=False).stdout.strip()

    assert can("list") == "no"
    cluster.kubectl("create", "role", "reader", "--verb=list", "--resource=pods", "-n", namespace)
    binding = ("create", "rolebinding", "reader", "--role=reader", f"--serviceaccount={namespace}:reader")
    cluster.kubectl(*binding, "-n", namespace)
    eventually(lambda: can("list") == "yes", "the role to count")
    assert can("delete") == "no"


def test_a_pod_has_its_own_token(cluster: LocalCluster, namespace: str) -> None:
    script = "grep -q token: $KUBECONFIG && echo has a token; echo home is $HOME; exec sleep 60"
    apply(cluster, namespace, deployment("operator", command=["sh", "-c", script], readinessProbe=None))
    available(cluster, namespace, "operator")
    (pod,) = pods(cluster, namespace, "operator")
    eventually(lambda: "has a token" in cluster.logs(namespace, pod["metadata"]["name"]), "a token")
