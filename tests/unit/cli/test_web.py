"""The commands that lead to the web page."""

from __future__ import annotations

import subprocess

from modelrollout.cli import web
from modelrollout.web.access import AUDIENCE


def test_the_way_to_the_page_is_printed_as_commands_that_a_shell_understands() -> None:
    said = web.commands("recs", "rollout-viewer", "modelrollout-system", " --context prod")
    assert subprocess.run(["sh", "-n"], input=said, text=True, check=False).returncode == 0
    wanted = [line for line in said.splitlines() if not line.startswith("#")]
    assert [line.removeprefix("kubectl --context prod ").split()[:2] for line in wanted] == [
        ["create", "serviceaccount"],
        ["create", "rolebinding"],
        ["create", "token"],
        ["port-forward", "-n"],
    ]
    assert f"--audience={AUDIENCE} --duration=1h" in said, "worth nothing anywhere else"
