"""Running a command in a private user, network, pid and mount namespace that dies with this process.

Inside, the loopback interface carries 10.99.0.0/16 (a pod address must not be in 127.0.0.0/8), a tmpfs is
mounted on :func:`localcluster.paths.run_dir`, and there is no other network. Nothing inside outlives the
process that called :func:`run`: the kernel kills the namespace's PID 1 with its parent, and all the other
processes and the tmpfs with PID 1.
"""

import contextlib
import errno
import os
import select
import signal
import sys
from collections.abc import Callable

from localcluster import addresses, linux, publish
from localcluster.errors import LocalClusterError
from localcluster.paths import run_dir
from localcluster.supervise import block_signals, exec_command, supervise

ADDRESS = addresses.HOST
NETMASK = "255.255.0.0"
MARKER = "LOCALCLUSTER_NAMESPACE"
STOP_SECONDS = 10.0

_REMEDY = """\
One of these helps:
  - Ubuntu 23.10 and later:  sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0
  - other systems:           sudo sysctl -w user.max_user_namespaces=15000
                             (old Debian: sudo sysctl -w kernel.unprivileged_userns_clone=1)
  - in a container:          start it with --privileged
  - or run the same command as root (sudo -E)."""


def inside() -> bool:
    """Is this process inside such a namespace?"""
    return MARKER in os.environ and os.path.ismount(run_dir())


def require() -> None:
    """Raise a clear error when not inside."""
    if not inside():
        raise LocalClusterError(
            "the local cluster runs only inside its private namespace",
            "Start the command through it: python -m localcluster exec -- COMMAND",
        )


def run(command: list[str], *, published: bool = False) -> int:
    """Run ``command`` in a new namespace and return its exit code."""
    run_dir().mkdir(parents=True, exist_ok=True)
    with publish.opened() if published else contextlib.nullcontext() as doors:
        mask = block_signals()
        _enter()
        # The pipe closes when this process dies, also before the child could ask to die with it.
        alive, hold = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(hold)
            _exit_with(lambda: _first_process(command, doors, mask, alive))
        os.close(alive)
        code = supervise(pid, kill_after=STOP_SECONDS)
        os.close(hold)
        return code


def _enter() -> None:
    """Leave for new namespaces: as an ordinary user, or as root where user namespaces are forbidden."""
    flags = linux.CLONE_NEWNS | linux.CLONE_NEWNET | linux.CLONE_NEWPID
    uid, gid = os.geteuid(), os.getegid()
    try:
        linux.unshare(flags | linux.CLONE_NEWUSER)
        linux.map_current_user_to_root(uid, gid)
    except OSError as error:
        if uid != 0:
            raise LocalClusterError(f"this system forbids user namespaces ({error})", _REMEDY) from error
        _enter_as_root(flags)


def _enter_as_root(flags: int) -> None:
    try:
        linux.unshare(flags)
    except OSError as error:
        raise LocalClusterError(f"this system forbids new namespaces even to root ({error})", _REMEDY) from error


def _exit_with(main: Callable[[], int]) -> None:
    """Run ``main`` in a forked child and leave without running the parent's clean-up a second time."""
    code = 1
    try:
        code = main()
    except LocalClusterError as error:
        sys.stderr.write(f"error: {error}\n")
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _first_process(command: list[str], doors: publish.Doors | None, mask: set[signal.Signals | int], alive: int) -> int:
    """PID 1 of the namespace: set it up, start the command, reap orphans until the command ends."""
    linux.die_with_parent()
    _require_parent(alive)
    try:
        _set_up()
    except OSError as error:
        raise LocalClusterError(f"this system does not let us set up the namespace ({error})", _REMEDY) from error
    environment = _environment(doors)
    if doors is not None and os.fork() == 0:
        _exit_with(doors.relay)
    pid = os.fork()
    if pid == 0:
        _exit_with(lambda: exec_command(command, environment, mask))
    return supervise(pid)


def _require_parent(alive: int) -> None:
    """Leave if the parent died before it was watched: nobody else would ever end this namespace."""
    readable, _, _ = select.select([alive], [], [], 0)
    if readable:
        os._exit(1)


def _set_up() -> None:
    linux.mount("none", "/", None, linux.MS_REC | linux.MS_PRIVATE)
    try:
        linux.mount("proc", "/proc", "proc")
    except PermissionError as error:
        # Some containers cover parts of /proc, and the kernel then refuses a fresh one to a user namespace.
        # Nothing here needs it: the processes then merely see the outer process numbers in /proc.
        if error.errno != errno.EPERM:
            raise
    linux.mount("tmpfs", str(run_dir()), "tmpfs", 0, "mode=0700")
    linux.bring_up_loopback(ADDRESS, NETMASK)


def _environment(doors: publish.Doors | None) -> dict[str, str]:
    """The command's environment: no way to the person's own clusters, and no proxies (there is no network)."""
    environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    environment[MARKER] = "1"
    environment["KUBECONFIG"] = str(run_dir() / "admin.kubeconfig")
    environment["KUBECACHEDIR"] = str(run_dir() / "kubectl-cache")
    environment.pop(publish.VARIABLE, None)
    if doors is not None:
        environment[publish.VARIABLE] = doors.to_json()
    return environment
