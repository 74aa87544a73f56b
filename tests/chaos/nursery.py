"""Operators that start at once: a process that has imported everything, and forks one for each that is asked for.

A campaign starts some hundred operators, and importing costs each of them more processor time than all that it does in
a release. What is forked is an ordinary process: of its own, with nothing of another's memory but code, and killed as
any other. How long a real start takes is measured elsewhere.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from tests.support.operator import ROOT

__all__ = ["Nursery"]


class Nursery:
    """See the module."""

    def __init__(self) -> None:
        environment = os.environ | {"PYTHONPATH": f"{ROOT / 'operator'}:{ROOT}", "OPENBLAS_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "tests.chaos.nursery"]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd=ROOT
        )
        self._lock = threading.Lock()

    def start(self, arguments: Sequence[str], log: Path) -> int:
        """Start an operator; its process id."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self._lock:
            self._process.stdin.write(json.dumps([str(log), *arguments]) + "\n")
            self._process.stdin.flush()
            return int(self._process.stdout.readline())

    def close(self) -> None:
        """End it; who was started lives on."""
        self._process.kill()
        self._process.wait()


def _serve() -> None:
    """Fork for each line; children are reaped by the kernel."""
    from modelrollout.controller.__main__ import main

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while line := sys.stdin.readline():
        log, *arguments = json.loads(line)
        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.setsid()
            file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            for number in (1, 2):
                os.dup2(file, number)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            main(arguments)
        sys.stdout.write(f"{pid}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _serve()
