"""Being the parent of one process: pass signals on, reap what dies, return its exit code.

Used twice: by the process outside the namespace for the namespace's first process, and by that one (PID 1,
which inherits every orphan in the namespace) for the command.
"""

import os
import signal
import time

# A terminal sends ^C to the whole foreground group itself (si_code SI_KERNEL, positive); passing that on
# would deliver it twice, and the second ^C makes pytest and others abort without cleaning up.
_LAST_USER_CODE = 0
_FORWARDED = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2}
WATCHED = {*_FORWARDED, signal.SIGCHLD}


def block_signals() -> set[signal.Signals | int]:
    """Keep the watched signals pending for :func:`supervise`; returns the mask to restore in children."""
    return set(signal.pthread_sigmask(signal.SIG_BLOCK, WATCHED))


def supervise(pid: int, *, kill_after: float | None = None) -> int:
    """Wait for ``pid`` to end and return its exit code the way a shell does (128 + signal).

    Signals sent to this process go to ``pid``. With ``kill_after``, a process that has not ended so many
    seconds after a SIGTERM is killed.
    """
    deadline: float | None = None
    while True:
        info = _next_signal(deadline)
        if info is None:
            os.kill(pid, signal.SIGKILL)
            deadline = None
        elif info.si_signo == signal.SIGCHLD:
            code = _reap(pid)
            if code is not None:
                return code
        elif info.si_code <= _LAST_USER_CODE:
            os.kill(pid, info.si_signo)
            if info.si_signo == signal.SIGTERM and kill_after is not None:
                deadline = time.monotonic() + kill_after


def _next_signal(deadline: float | None) -> signal.struct_siginfo | None:
    if deadline is None:
        return signal.sigwaitinfo(WATCHED)
    return signal.sigtimedwait(WATCHED, max(0.0, deadline - time.monotonic()))


def _reap(wanted: int) -> int | None:
    """Collect every dead child; several may hide behind one SIGCHLD."""
    found: int | None = None
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return found
        if pid == 0:
            return found
        if pid == wanted:
            code = os.waitstatus_to_exitcode(status)
            found = code if code >= 0 else 128 - code


def exec_command(command: list[str], environment: dict[str, str], mask: set[signal.Signals | int]) -> int:
    """Become ``command``, with the signal handling any program expects; returns only when that fails."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    try:
        os.execvpe(command[0], command, environment)
    except FileNotFoundError:
        os.write(2, f"{command[0]}: command not found\n".encode())
        return 127
    except OSError as error:
        os.write(2, f"{command[0]}: {error.strerror}\n".encode())
        return 126
