"""The few system calls Python 3.11 does not offer: namespaces, mounts and a network address, by ctypes.

Doing it here instead of through ``unshare`` and ``ip`` needs no extra packages on the machine, and it lets
our own process stay the parent, so that it can pass signals on (util-linux's ``unshare --fork`` cannot).
"""

import ctypes
import fcntl
import os
import signal
import socket
import struct
from pathlib import Path

CLONE_NEWNS = 0x00020000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_REC = 0x4000
MS_PRIVATE = 1 << 18

_PR_SET_PDEATHSIG = 1
_SIOCGIFFLAGS = 0x8913
_SIOCSIFFLAGS = 0x8914
_SIOCSIFADDR = 0x8916
_SIOCSIFNETMASK = 0x891C
_IFF_UP = 0x1

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{what}: {os.strerror(error)}")


def unshare(flags: int) -> None:
    """Leave the given namespaces for new ones; the new pid namespace begins with the next child."""
    _check(_libc.unshare(flags), "unshare")


def mount(source: str, target: str, kind: str | None, flags: int = 0, options: str | None = None) -> None:
    """mount(2)."""
    arguments = [text.encode() if text is not None else None for text in (source, target, kind)]
    data = options.encode() if options is not None else None
    _check(_libc.mount(*arguments, ctypes.c_ulong(flags), data), f"mount {kind or 'flags'} on {target}")


def die_with_parent() -> None:
    """Ask the kernel to kill this process the moment the thread that made it ends."""
    _check(_libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "prctl(PR_SET_PDEATHSIG)")


def map_current_user_to_root(uid: int, gid: int) -> None:
    """Be root inside the user namespace just entered, and the same person as before outside of it."""
    Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
    Path("/proc/self/uid_map").write_text(f"0 {uid} 1", encoding="ascii")
    Path("/proc/self/gid_map").write_text(f"0 {gid} 1", encoding="ascii")


def bring_up_loopback(address: str, netmask: str) -> None:
    """Start ``lo`` and give it one more address; on loopback the whole range of the mask becomes local."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        _set_interface_up(control, b"lo")
        alias = b"lo:0"
        fcntl.ioctl(control, _SIOCSIFADDR, _address_request(alias, address))
        fcntl.ioctl(control, _SIOCSIFNETMASK, _address_request(alias, netmask))


def _set_interface_up(control: socket.socket, name: bytes) -> None:
    answer = fcntl.ioctl(control, _SIOCGIFFLAGS, struct.pack("16sh14x", name, 0))
    (flags,) = struct.unpack("16xh14x", answer)
    fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sh14x", name, flags | _IFF_UP))


def _address_request(name: bytes, address: str) -> bytes:
    """A ``struct ifreq`` that carries an IPv4 address."""
    return struct.pack("16sHH4s8x", name, socket.AF_INET, 0, socket.inet_aton(address))
