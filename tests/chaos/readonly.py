"""The operator on a disk of nothing: ``python -m tests.chaos.readonly …`` as the controller itself.

It enters a mount namespace of its own in which every file system is read-only, and HOME and TMPDIR lead nowhere; it
makes sure that nothing can be written, and becomes the controller.
"""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

from localcluster import linux
from tests.support.operator import ROOT

_MS_RDONLY = 1
_MS_REMOUNT = 32
_MS_BIND = 4096
_KEPT = {"nosuid": 2, "nodev": 4, "noexec": 8, "noatime": 1024, "relatime": 1 << 21}
"""Flags of a mount that a remount must repeat, or the kernel refuses it."""


def _read_only() -> None:
    linux.unshare(linux.CLONE_NEWNS)
    linux.mount("none", "/", None, linux.MS_REC | linux.MS_PRIVATE)
    for line in Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines():
        _, place, _, options, *_ = line.split()
        kept = sum(_KEPT.get(option, 0) for option in options.split(","))
        with contextlib.suppress(OSError):  # some of the kernel's own may not be changed; nothing is kept there
            linux.mount("none", place, None, _MS_REMOUNT | _MS_BIND | _MS_RDONLY | kept)


def _nothing_can_be_written() -> None:
    for folder in (ROOT, Path("/tmp"), Path("/var/tmp"), Path.home(), Path("/dev/shm"), Path.cwd()):
        try:
            (folder / "written").touch()
        except OSError:
            continue
        raise SystemExit(f"{folder} can be written, so this proves nothing")


if __name__ == "__main__":
    os.environ |= {"HOME": "/nowhere", "TMPDIR": "/nowhere", "PYTHONDONTWRITEBYTECODE": "1"}
    _read_only()
    _nothing_can_be_written()
    os.execv(sys.executable, [sys.executable, "-B", "-m", "modelrollout.controller", *sys.argv[1:]])
