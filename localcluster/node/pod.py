"""The life of one Pod on this node: start, probe, restart, stop, and tell the API server about it."""

import asyncio
import contextlib
import shutil
import signal
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from localcluster.node import client as api
from localcluster.node import environment
from localcluster.node.container import START_FAILED, ContainerProcess, run_to_end
from localcluster.node.probes import Probe, watch
from localcluster.node.resources import Resources
from localcluster.node.status import PodState, Running, Terminated, Waiting

_RETRY_SECONDS = 0.2
_IMAGE_RETRY_SECONDS = 2.0
_STABLE_SECONDS = 60.0
_LONGEST_BACKOFF = 300.0
# The kubelet, too, gives a container at least this long after a preStop hook has used up the grace period.
_SHORTEST_GRACE = 2.0
_FINAL = (404, 409)


@dataclass(frozen=True)
class NodeSettings:
    """What all pods of the node share."""

    folder: Path
    host_ip: str
    backoff: float
    base_environment: dict[str, str]

    def log(self, namespace: str, pod: str) -> Path:
        """The pod's log file."""
        return self.folder / "logs" / "pods" / f"{namespace}_{pod}.log"


class PodWorker:
    """Runs one Pod until it is deleted."""

    def __init__(self, pod: dict[str, Any], pod_ip: str, settings: NodeSettings, client: api.Client) -> None:
        self._pod = pod
        self._settings = settings
        self._client = client
        self._resources = Resources(client, pod, settings.folder / "pods" / pod["metadata"]["uid"])
        self._state = PodState(
            pod_ip=pod_ip,
            host_ip=settings.host_ip,
            started_at=datetime.now(UTC),
            restart_policy=pod["spec"].get("restartPolicy") or "Always",
        )
        self._process: ContainerProcess | None = None
        self._environment: dict[str, str] = {}
        self._changed = asyncio.Event()
        self._deleted = asyncio.Event()
        self._gone = False
        metadata = pod["metadata"]
        self._path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}"
        self._log = settings.log(metadata["namespace"], metadata["name"])

    @property
    def pod_ip(self) -> str:
        """The address this pod got."""
        return self._state.pod_ip

    @property
    def _container(self) -> dict[str, Any]:
        container: dict[str, Any] = self._pod["spec"]["containers"][0]
        return container

    def update(self, pod: dict[str, Any]) -> None:
        """Take note of a newer version of the object."""
        self._pod = pod
        if pod["metadata"].get("deletionTimestamp"):
            self._deleted.set()

    def vanish(self) -> None:
        """The object is gone: end at once, nobody is left to be told."""
        self._gone = True
        self._deleted.set()
        if self._process is not None:
            self._process.signal(signal.SIGKILL)

    async def run(self) -> None:
        """Everything from the binding to the removal of the object."""
        self._log.parent.mkdir(parents=True, exist_ok=True)
        writer = asyncio.create_task(self._write_status())
        life = asyncio.create_task(self._keep_running())
        try:
            await self._deleted.wait()
            if not self._gone:
                await self._terminate()
        finally:
            for task in (life, writer):
                task.cancel()
            await asyncio.gather(life, writer, return_exceptions=True)
            await asyncio.to_thread(shutil.rmtree, self._resources.folder, ignore_errors=True)
        if not self._gone:
            await self._remove()

    async def _keep_running(self) -> None:
        self._publish()
        await self._wait_for_image()
        delay = 0.0
        while True:
            ended = await self._run_once()
            self._state.last = ended
            self._state.started = self._state.ready = False
            self._state.current = ended
            if self._deleted.is_set() or not self._state.will_restart(ended.exit_code):
                self._publish()
                return
            if (ended.finished_at - ended.started_at).total_seconds() > _STABLE_SECONDS:
                delay = 0.0
            await self._back_off(delay)
            delay = min(max(delay * 2, self._settings.backoff), _LONGEST_BACKOFF)
            self._state.restarts += 1

    async def _back_off(self, delay: float) -> None:
        """Wait before a restart; the first one comes at once, as with the kubelet."""
        if delay <= 0:
            return
        name = self._pod["metadata"]["name"]
        words = f"back-off {delay:g}s restarting failed container={self._container['name']} pod={name}"
        self._state.current = Waiting("CrashLoopBackOff", words)
        self._publish()
        await asyncio.sleep(delay)

    async def _wait_for_image(self) -> None:
        """A missing image is asked for again and again; it may be corrected in the object meanwhile."""
        attempts = 0
        while not environment.image_exists(self._container.get("image", "")):
            image = self._container["image"]
            failed = Waiting("ErrImagePull", f'failed to pull and unpack image "{image}": not found')
            waiting = Waiting("ImagePullBackOff", f'Back-off pulling image "{image}"')
            self._state.current = failed if attempts == 0 else waiting
            self._publish()
            await asyncio.sleep(self._settings.backoff if attempts == 0 else _IMAGE_RETRY_SECONDS)
            attempts += 1

    async def _run_once(self) -> Terminated:
        """One run of the container, from its start to its end."""
        begun = datetime.now(UTC)
        try:
            self._environment = await self._build_environment()
            command = environment.command_line(self._container, self._environment)
            folder = self._resources.folder
            self._process = await ContainerProcess.start(command, self._environment, folder, self._log)
        except (environment.InvalidReferenceError, OSError) as error:
            return Terminated(START_FAILED, begun, datetime.now(UTC), str(error))
        self._state.current = Running(self._process.started_at)
        probes = asyncio.create_task(self._probe(self._process))
        try:
            code = await self._process.wait()
        finally:
            probes.cancel()
            await asyncio.gather(probes, return_exceptions=True)
        return Terminated(code, self._process.started_at, datetime.now(UTC))

    async def _build_environment(self) -> dict[str, str]:
        own = await self._resources.prepare(self._container, self._state.pod_ip)
        return {**self._settings.base_environment, "HOSTNAME": self._pod["metadata"]["name"], **own}

    async def _probe(self, process: ContainerProcess) -> None:
        """Wait for the startup probe, then watch liveness and readiness side by side."""
        if "startupProbe" in self._container:
            await self._wait_started(process)
        self._state.started = True
        self._set_ready("readinessProbe" not in self._container)
        watches = []
        if "readinessProbe" in self._container:
            watches.append(watch(self._make_probe("readinessProbe"), self._set_ready))
        if "livenessProbe" in self._container:
            watches.append(watch(self._make_probe("livenessProbe"), lambda alive: self._judge(alive, process)))
        await asyncio.gather(*watches)

    async def _wait_started(self, process: ContainerProcess) -> None:
        self._publish()
        started = asyncio.Event()

        def judge(success: bool) -> None:
            if success:
                started.set()
            else:
                self._judge(False, process)

        probing = asyncio.create_task(watch(self._make_probe("startupProbe"), judge))
        try:
            await started.wait()
        finally:
            probing.cancel()

    def _judge(self, alive: bool, process: ContainerProcess) -> None:
        """A container that is not alive is stopped, and started again by the loop around it."""
        if not alive and not self._deleted.is_set():
            process.signal(signal.SIGTERM)
            grace = float(self._pod["spec"].get("terminationGracePeriodSeconds") or 0)
            asyncio.get_running_loop().call_later(grace, process.signal, signal.SIGKILL)

    def _make_probe(self, kind: str) -> Probe:
        return Probe(self._container[kind], self._container, self._state.pod_ip, self._execute)

    async def _execute(self, command: list[str], timeout: float) -> int | None:
        return await run_to_end(command, self._environment, self._resources.folder, self._log, timeout)

    def _set_ready(self, ready: bool) -> None:
        self._state.ready = ready
        self._publish()

    async def _terminate(self) -> None:
        """preStop, SIGTERM, the grace period, SIGKILL."""
        process = self._process
        if process is None or process.ended:
            return
        grace = float(self._pod["metadata"].get("deletionGracePeriodSeconds") or 0)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + grace
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._pre_stop(process), grace)
        process.signal(signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), max(deadline - loop.time(), min(grace, _SHORTEST_GRACE)))
        process.signal(signal.SIGKILL)
        await process.wait()

    async def _pre_stop(self, process: ContainerProcess) -> None:
        hook = (self._container.get("lifecycle") or {}).get("preStop") or {}
        if "sleep" in hook:
            sleeping = asyncio.ensure_future(asyncio.sleep(float(hook["sleep"]["seconds"])))
            ending = asyncio.ensure_future(process.wait())
            await asyncio.wait({sleeping, ending}, return_when=asyncio.FIRST_COMPLETED)
            for task in (sleeping, ending):
                task.cancel()
        elif "exec" in hook:
            grace = float(self._pod["metadata"].get("deletionGracePeriodSeconds") or 0)
            await self._execute(list(hook["exec"]["command"]), grace)

    def _publish(self) -> None:
        self._changed.set()

    async def _write_status(self) -> None:
        """Write the newest status whenever it changed; several quick changes become one write."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            status = self._state.status(self._container, datetime.now(UTC))
            body = {"metadata": {"uid": self._pod["metadata"]["uid"]}, "status": status}
            if not await self._tell("PATCH", self._path + "/status", body, api.STRATEGIC):
                self._changed.set()
                await asyncio.sleep(_RETRY_SECONDS)

    async def _remove(self) -> None:
        """Remove the object for good, however long the API server is away."""
        body = {"gracePeriodSeconds": 0, "preconditions": {"uid": self._pod["metadata"]["uid"]}}
        while True:
            if await self._tell("DELETE", self._path, body, "application/json"):
                return
            await asyncio.sleep(_RETRY_SECONDS)

    async def _tell(self, method: str, path: str, body: dict[str, Any], content_type: str) -> bool:
        """False when it should be tried again; an object that is gone or another one needs no telling."""
        try:
            await self._client.request(method, path, body, content_type)
        except api.ApiError as error:
            return error.status in _FINAL
        except api.TRANSIENT:
            return False
        return True
