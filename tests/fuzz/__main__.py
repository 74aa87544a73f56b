"""``python -m tests.fuzz --seconds 60``: coverage-guided hunting with atheris, all targets in turn.

Each target runs in a process of its own, because libFuzzer ends the process. Hypothesis makes the examples out of the
bytes that libFuzzer thinks of, so both know the same shapes. What is found is printed with the bytes that make it again
(``--target NAME --bytes FILE``), and is worth an example in ``junk.py``.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

_DONE = "Done "


def _hunt(name: str, seconds: int, folder: Path) -> None:
    """Run one target in this process, until the time is over or something is found; does not return."""
    import atheris

    with atheris.instrument_imports(include=["modelrollout"]):
        from tests.fuzz.targets import TARGETS

    from hypothesis import settings

    target = settings(database=None, deadline=None)(TARGETS[name])
    run = target.hypothesis.fuzz_one_input  # type: ignore[attr-defined]
    flags = [f"-max_total_time={seconds}", "-max_len=8192", "-timeout=30", f"-artifact_prefix={folder}/"]
    atheris.Setup([sys.argv[0], *flags, str(folder)], run, internal_libfuzzer=True)
    atheris.Fuzz()


def _again(name: str, file: Path) -> None:
    """Run one target on bytes that were found."""
    from tests.fuzz.targets import TARGETS

    TARGETS[name].hypothesis.fuzz_one_input(file.read_bytes())  # type: ignore[attr-defined]


def _in_turn(seconds: int) -> int:
    """Every target for its part of the time; how many of them broke."""
    from tests.fuzz.targets import TARGETS

    share, broken = max(1, seconds // len(TARGETS)), 0
    for name in TARGETS:
        folder = tempfile.mkdtemp(prefix=f"fuzz-{name}-")
        command = [sys.executable, "-m", "tests.fuzz", "--target", name, "--seconds", str(share), "--folder", folder]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        runs = next((line for line in done.stderr.splitlines() if line.startswith(_DONE)), "")
        print(f"{name:12} {runs or 'BROKE, see ' + folder}", flush=True)
        if done.returncode != 0:
            broken += 1
            print("\n".join((done.stdout + done.stderr).splitlines()[-60:]), flush=True)
    return broken


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=60, help="for all targets together, or for --target")
    parser.add_argument("--target", help="this one alone")
    parser.add_argument("--folder", type=Path, help="where what is found is kept")
    parser.add_argument("--bytes", type=Path, help="run --target on what was found")
    given = parser.parse_args()
    if given.bytes is not None:
        _again(given.target, given.bytes)
    elif given.target is not None:
        _hunt(given.target, given.seconds, given.folder or Path(tempfile.mkdtemp(prefix="fuzz-")))
    else:
        sys.exit(1 if _in_turn(given.seconds) else 0)


if __name__ == "__main__":
    main()
