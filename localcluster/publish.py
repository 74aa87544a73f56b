"""Reaching a cluster from outside its namespace: listening sockets of the outside, relayed from the inside.

A socket belongs to the network namespace it was made in, for ever. So the sockets are opened outside, on
127.0.0.1, and inherited by a process inside, which accepts on them and connects to the cluster's addresses;
no process outside is needed. What belongs to one cluster (its kubeconfig for people outside) is kept in a
folder locked by the living processes, so that the next start can collect the folders of killed ones.
"""

import asyncio
import contextlib
import fcntl
import json
import os
import shutil
import signal
import socket
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from localcluster import addresses
from localcluster.paths import published_dir

VARIABLE = "LOCALCLUSTER_PUBLISHED"
_CHUNK = 1 << 16
_TARGETS = {
    "apiserver": addresses.APISERVER,
    "gateway": addresses.GATEWAY,
    "prometheus": addresses.PROMETHEUS,
}


@dataclass(frozen=True)
class PublishedPorts:
    """What the inside is told: where the outside can reach the cluster, and where its kubeconfig goes."""

    folder: Path
    apiserver: int
    gateway: int
    prometheus: int


@dataclass(frozen=True)
class Doors:
    """The open sockets of one cluster, and the folder for its files outside."""

    folder: Path
    sockets: dict[str, socket.socket]

    def to_json(self) -> str:
        """The environment value that :func:`from_environment` reads."""
        ports = {name: door.getsockname()[1] for name, door in self.sockets.items()}
        return json.dumps({"folder": str(self.folder), **ports})

    def relay(self) -> int:
        """Serve all sockets until killed; runs as a process of its own inside the namespace."""
        signal.pthread_sigmask(signal.SIG_SETMASK, set())
        # A ^C in the terminal reaches every process; the doors close when the namespace ends, not before.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        asyncio.run(self._serve())
        return 0

    async def _serve(self) -> None:
        for name, door in self.sockets.items():
            await asyncio.start_server(_Relay(*_TARGETS[name]).connected, sock=door)
        await asyncio.Event().wait()


def from_environment() -> PublishedPorts | None:
    """What ``exec --publish`` opened for this namespace, if it did."""
    text = os.environ.get(VARIABLE)
    if not text:
        return None
    values = json.loads(text)
    return PublishedPorts(
        folder=Path(values["folder"]),
        apiserver=values["apiserver"],
        gateway=values["gateway"],
        prometheus=values["prometheus"],
    )


@contextlib.contextmanager
def opened() -> Iterator[Doors]:
    """Open the sockets and the folder; the folder goes when the block ends."""
    parent = published_dir()
    parent.mkdir(parents=True, exist_ok=True)
    collect_stale(parent)
    folder = Path(tempfile.mkdtemp(prefix=f"{os.getpid()}-", dir=parent))
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        lock = stack.enter_context((folder / "lock").open("w", encoding="ascii"))
        fcntl.flock(lock, fcntl.LOCK_EX)
        sockets = {name: stack.enter_context(_listen()) for name in _TARGETS}
        yield Doors(folder=folder, sockets=sockets)


def collect_stale(parent: Path) -> None:
    """Remove the folders whose processes are gone: a lock nobody holds can be taken."""
    for folder in parent.iterdir():
        try:
            lock = (folder / "lock").open("r", encoding="ascii")
        except FileNotFoundError:
            continue  # another start has made its folder and not yet its lock, or is removing it
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            shutil.rmtree(folder, ignore_errors=True)


def _listen() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0), backlog=128)


@dataclass(frozen=True)
class _Relay:
    """Copies bytes both ways between an accepted connection and one address inside."""

    host: str
    port: int

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            inner_reader, inner_writer = await asyncio.open_connection(self.host, self.port)
        except OSError:
            writer.close()  # nothing listens inside (yet): the outside sees a closed connection
            return
        await asyncio.gather(_copy(reader, inner_writer), _copy(inner_reader, writer))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    # A connection reset on either side ends the copy just as an orderly end does; a socket that is gone already says
    # so with a plain OSError (ENOTCONN).
    with contextlib.suppress(OSError):
        while chunk := await reader.read(_CHUNK):
            writer.write(chunk)
            await writer.drain()
    with contextlib.suppress(OSError):
        if writer.can_write_eof():
            writer.write_eof()
        else:
            writer.close()
