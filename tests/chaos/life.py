"""The operator as a process that is started again whenever it ends, as a kubelet would do it, but at once."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from localcluster import eventually
from tests.support.operator import ROOT

__all__ = ["Life", "Start", "start_module"]

_WORKS: Final = "the copies are filled; working"
_AGAIN_SECONDS: Final = 0.1

Start = Callable[[Sequence[str], Path], int]


def start_module(module: str) -> Start:
    """Start operators by another entry point, the ordinary way."""

    def start(arguments: Sequence[str], log: Path) -> int:
        environment = os.environ | {"PYTHONPATH": f"{ROOT / 'operator'}:{ROOT}"}
        command = [sys.executable, "-m", module, *arguments]
        with log.open("ab") as file:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, env=environment, cwd=ROOT
            )
        threading.Thread(target=process.wait, daemon=True).start()
        return process.pid

    return start


class Life:
    """See the module. ``deaths`` counts how often the process ended, by a kill or by itself."""

    def __init__(self, start: Start, arguments: Sequence[str], log: Path) -> None:
        self._start = start
        self._arguments = list(arguments)
        self._log = log
        self._pid = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._keep_alive, daemon=True)
        self.deaths = 0

    def start(self) -> None:
        """Start it; returns when it works."""
        self._thread.start()
        eventually(lambda: _WORKS in self.log(), "the operator to work", timeout=120)

    def kill(self) -> None:
        """kill -9; returns at once, and another process takes its place."""
        self._send(signal.SIGKILL)

    def pause(self) -> None:
        """Let it do nothing, and not know of it: a machine that swaps, a debugger, a virtual machine that is moved."""
        self._send(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self._send(signal.SIGCONT)

    def stop(self) -> None:
        """End it for good."""
        self._over.set()
        self.kill()
        if self._thread.is_alive():
            self._thread.join(timeout=10)

    def log(self) -> str:
        """All that it wrote, in all its lives."""
        return self._log.read_text(encoding="utf-8", errors="replace") if self._log.exists() else ""

    def _send(self, number: signal.Signals) -> None:
        if self._pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, number)

    def _keep_alive(self) -> None:
        while not self._over.is_set():
            self._pid = self._start(self._arguments, self._log)
            with contextlib.suppress(ProcessLookupError):
                handle = os.pidfd_open(self._pid)
                select.select([handle], [], [])
                os.close(handle)
            self.deaths += 1
            self._over.wait(_AGAIN_SECONDS)
        self._pid = 0
