"""The operator as a process that is started again whenever it ends, as a kubelet would do it, but at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from localcluster import eventually
from tests.support.operator import ROOT

__all__ = ["Life"]

_WORKS: Final = "the copies are filled; working"
_AGAIN_SECONDS: Final = 0.1


class Life:
    """See the module. ``deaths`` counts how often the process ended, by a kill or by itself."""

    def __init__(self, arguments: Sequence[str], log: Path, *, module: str = "modelrollout.controller") -> None:
        self._arguments = list(arguments)
        self._module = module
        self._log = log
        self._environment = os.environ | {"PYTHONPATH": f"{ROOT / 'operator'}:{ROOT}"}
        self._process: subprocess.Popen[bytes] | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._keep_alive, daemon=True)
        self.deaths = 0

    def start(self) -> None:
        """Start it; returns when it works."""
        self._thread.start()
        eventually(lambda: _WORKS in self.log(), "the operator to work", timeout=120)

    def kill(self) -> None:
        """kill -9; returns at once, and another process takes its place."""
        process = self._process
        if process is not None:
            process.kill()

    def pause(self) -> None:
        """Let it do nothing, and not know of it: a machine that swaps, a garbage collector, a debugger."""
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
        if self._process is not None:
            self._process.send_signal(number)

    def _keep_alive(self) -> None:
        command = [sys.executable, "-m", self._module, *self._arguments]
        while not self._over.is_set():
            with self._log.open("ab") as log:
                self._process = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self._environment, cwd=ROOT
                )
            self._process.wait()
            self.deaths += 1
            self._over.wait(_AGAIN_SECONDS)
