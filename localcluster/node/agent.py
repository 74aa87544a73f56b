"""The node itself: it registers, keeps its Lease, and gives every Pod bound to it a worker."""

import asyncio
import itertools
import logging
import platform
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from localcluster.node import client as api
from localcluster.node.pod import NodeSettings, PodWorker
from localcluster.node.status import timestamp

_log = logging.getLogger(__name__)

NAME = "local-node"
_LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
_LEASE_SECONDS = 10.0
_RETRY_SECONDS = 0.2
_CONFLICT = 409
_POD_NETWORKS = range(1, 10)


@dataclass(frozen=True)
class Capacity:
    """How much the scheduler may put on the node; nothing enforces it for the processes."""

    cpu: str
    memory: str
    pods: int

    def resources(self) -> dict[str, str]:
        """As in the Node's status."""
        return {"cpu": self.cpu, "memory": self.memory, "pods": str(self.pods), "ephemeral-storage": "100Gi"}


class Agent:
    """Watches the pods of this node for ever."""

    def __init__(self, client: api.Client, settings: NodeSettings, capacity: Capacity, port: int) -> None:
        self._client = client
        self._settings = settings
        self._capacity = capacity
        self._port = port
        self._workers: dict[str, PodWorker] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._addresses = _addresses()

    async def run(self) -> None:
        """Register, then keep the Lease and follow the pods."""
        await self._retry(self._register)
        await asyncio.gather(self._keep_lease(), self._follow_pods())

    async def _register(self) -> None:
        """Create the Node and its Lease; an earlier life of this node may have done so."""
        await self._create("/api/v1/nodes", self._node())
        # The admission plugin taints every new Node until a controller has looked at it; this one is ready now.
        await self._client.request("PATCH", f"/api/v1/nodes/{NAME}", {"spec": {"taints": None}}, api.MERGE)
        await self._create(_LEASES, {"metadata": {"name": NAME}, "spec": self._lease()})

    async def _create(self, path: str, body: dict[str, Any]) -> None:
        try:
            await self._client.request("POST", path, body)
        except api.ApiError as error:
            if error.status != _CONFLICT:
                raise

    async def _renew(self) -> None:
        await self._client.request("PATCH", f"{_LEASES}/{NAME}", {"spec": self._lease()}, api.MERGE)

    async def _retry(self, step: Callable[[], Awaitable[None]]) -> None:
        """Do a step, however long the API server is away or not set up yet."""
        while True:
            try:
                return await step()
            except (api.ApiError, *api.TRANSIENT) as error:
                _log.warning("%s failed, trying again: %s", step.__name__, error)
                await asyncio.sleep(_RETRY_SECONDS)

    def _lease(self) -> dict[str, Any]:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        return {"holderIdentity": NAME, "leaseDurationSeconds": 40, "renewTime": now}

    def _node(self) -> dict[str, Any]:
        now = timestamp(datetime.now(UTC))
        ready = {
            "type": "Ready",
            "status": "True",
            "reason": "ProcessRunnerReady",
            "message": "runs pods as processes",
            "lastHeartbeatTime": now,
            "lastTransitionTime": now,
        }
        labels = {"kubernetes.io/hostname": NAME, "kubernetes.io/os": "linux", "kubernetes.io/arch": _architecture()}
        status = {
            "capacity": self._capacity.resources(),
            "allocatable": self._capacity.resources(),
            "conditions": [ready],
            "addresses": [{"type": "InternalIP", "address": self._settings.host_ip}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": self._port}},
        }
        return {"kind": "Node", "apiVersion": "v1", "metadata": {"name": NAME, "labels": labels}, "status": status}

    async def _follow_pods(self) -> None:
        while True:
            try:
                async for kind, value in self._client.watch("/api/v1/pods", f"fieldSelector=spec.nodeName%3D{NAME}"):
                    self._see(kind, value)
            except (api.ApiError, *api.TRANSIENT):
                # The server is away or the watch too old: list again, soon.
                await asyncio.sleep(_RETRY_SECONDS)

    def _see(self, kind: str, value: dict[str, Any]) -> None:
        if kind == "LISTED":
            present = {pod["metadata"]["uid"] for pod in value["items"]}
            for uid in self._workers.keys() - present:
                self._workers.pop(uid).vanish()
            for pod in value["items"]:
                self._take(pod)
        elif kind == "DELETED":
            worker = self._workers.pop(value["metadata"]["uid"], None)
            if worker is not None:
                worker.vanish()
        else:
            self._take(value)

    def _take(self, pod: dict[str, Any]) -> None:
        uid = pod["metadata"]["uid"]
        worker = self._workers.get(uid)
        if worker is None:
            worker = PodWorker(pod, self._free_address(), self._settings, self._client)
            self._workers[uid] = worker
            task = asyncio.create_task(worker.run())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        worker.update(pod)

    def _free_address(self) -> str:
        """The address unused for the longest time: a new pod must not get an old one's late requests."""
        used = {worker.pod_ip for worker in self._workers.values()}
        return next(address for address in self._addresses if address not in used)

    async def _keep_lease(self) -> None:
        while True:
            await self._retry(self._renew)
            await asyncio.sleep(_LEASE_SECONDS)


def _addresses() -> Iterator[str]:
    """10.99.1.1 to 10.99.9.254, again and again."""
    every = [f"10.99.{network}.{host}" for network in _POD_NETWORKS for host in range(1, 255)]
    return itertools.cycle(every)


def _architecture() -> str:
    """The machine's architecture by its Kubernetes name."""
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
