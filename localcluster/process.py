"""One program of the cluster: starting it, its log file, noticing that it died, stopping it."""

import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from localcluster.errors import LocalClusterError

_LOG_LINES_IN_ERRORS = 15
_POLL_SECONDS = 0.02


class Program:
    """A program with a name, an argument list and a log file; it can be started again after it was stopped."""

    def __init__(self, name: str, arguments: Sequence[str], log: Path, environment: Mapping[str, str]) -> None:
        self.name = name
        self.log = log
        self._arguments = list(arguments)
        self._environment = dict(environment)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The process id, or None when it does not run."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def start(self) -> None:
        """Start it; its output is appended to the log file."""
        if self.pid is not None:
            return
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._arguments,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._environment,
                # A ^C in the terminal is for the command that uses the cluster; that one stops the cluster.
                start_new_session=True,
            )

    def wait_until(self, ready: Callable[[], bool], what: str, timeout: float) -> None:
        """Wait until ``ready`` says so; raises with the end of the log when the program ends or is too slow."""
        deadline = time.monotonic() + timeout
        while not _holds(ready):
            self.require_alive()
            if time.monotonic() > deadline:
                raise self._failure(f"{self.name} did not get ready within {timeout:g} s ({what})")
            time.sleep(_POLL_SECONDS)

    def require_alive(self) -> None:
        """Raise with the end of the log if the program has ended."""
        if self._process is None or self._process.poll() is not None:
            code = "never started" if self._process is None else f"exit code {self._process.returncode}"
            raise self._failure(f"{self.name} ended ({code})")

    def send(self, number: signal.Signals) -> None:
        """Send a signal, if it runs."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)

    def stop(self, timeout: float = 5.0) -> None:
        """Ask it to end; kill it when it does not."""
        self.send(signal.SIGTERM)
        if self._process is None:
            return
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """Kill it at once and wait for its end."""
        self.send(signal.SIGKILL)
        if self._process is not None:
            self._process.wait()

    def _failure(self, message: str) -> LocalClusterError:
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines() if self.log.exists() else []
        tail = "\n".join(f"  {line[:300]}" for line in lines[-_LOG_LINES_IN_ERRORS:])
        return LocalClusterError(message, f"The end of its log ({self.log}):\n{tail}")


def _holds(ready: Callable[[], bool]) -> bool:
    try:
        return ready()
    except OSError:
        return False
