"""The scripts that `make` calls, where they cannot do their work."""

from __future__ import annotations

import subprocess
from pathlib import Path

_SCRIPT = Path(__file__).resolve().parents[3] / "scripts" / "setup-system"


def test_without_apt_it_is_said_what_is_missing_and_nothing_fails(tmp_path: Path) -> None:
    (tmp_path / "id").write_text("#!/bin/sh\necho 0\n", encoding="ascii")
    (tmp_path / "id").chmod(0o755)
    done = subprocess.run(
        ["/bin/sh", str(_SCRIPT)], env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("not installed (this needs apt and root): chromium prometheus-alertmanager tmux")
    assert "skipped" in done.stdout


def test_what_is_there_already_is_not_mentioned(tmp_path: Path) -> None:
    for program in ("chromium", "prometheus-alertmanager", "tmux"):
        (tmp_path / program).write_text("#!/bin/sh\n", encoding="ascii")
        (tmp_path / program).chmod(0o755)
    done = subprocess.run(
        ["/bin/sh", str(_SCRIPT)], env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0
    assert "chromium" not in done.stdout
    assert "alertmanager" not in done.stdout
    assert "tmux" not in done.stdout
