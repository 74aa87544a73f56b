"""One run of a container's command: a process in a session of its own, writing to the pod's log file."""

import asyncio
import os
import signal
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from localcluster.linux import die_with_parent

START_FAILED = 128


class ContainerProcess:
    """A running process and everything it started in its session."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.started_at = datetime.now(UTC)

    @classmethod
    async def start(
        cls, command: Sequence[str], environment: Mapping[str, str], folder: Path, log: Path
    ) -> "ContainerProcess":
        """Start ``command``; raises OSError when there is no such program."""
        with log.open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=asyncio.subprocess.STDOUT,
                env=dict(environment),
                cwd=folder,
                start_new_session=True,
                preexec_fn=die_with_parent,
            )
        return cls(process)

    @property
    def ended(self) -> bool:
        """Has the process ended?"""
        return self._process.returncode is not None

    async def wait(self) -> int:
        """Wait for the end; the exit code as a shell would tell it (128 + signal)."""
        code = await self._process.wait()
        # What the command left behind in its session ends with the container, as with a real one.
        self.signal(signal.SIGKILL)
        return code if code >= 0 else 128 - code

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the whole session's process group."""
        try:
            os.killpg(self._process.pid, number)
        except ProcessLookupError:
            return  # it has ended by itself meanwhile, which is what the signal was for


async def run_to_end(
    command: Sequence[str], environment: Mapping[str, str], folder: Path, log: Path, timeout: float
) -> int | None:
    """Run a probe's or hook's command; None when it did not end in time (it is killed then)."""
    process = await ContainerProcess.start(command, environment, folder, log)
    try:
        return await asyncio.wait_for(process.wait(), timeout)
    except TimeoutError:
        process.signal(signal.SIGKILL)
        return None
    finally:
        if not process.ended:
            process.signal(signal.SIGKILL)
