"""docs/adopting.md and the test that runs its commands belong together."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def test_every_command_of_the_page_is_run() -> None:
    """A block without a mark, or one that no step of the test runs, could rot."""
    page = (ROOT / "docs" / "adopting.md").read_text(encoding="utf-8")
    test = (ROOT / "tests" / "dataplane" / "test_adopting.py").read_text(encoding="utf-8")
    marked = re.findall(r"<!-- run: (\w+) -->\n```\n", page)
    assert len(marked) == page.count("\n```\n") // 2, "a block of commands is not marked"
    assert marked == re.findall(r"page\.run\(\"(\w+)\"\)", test), "not every block is run, or in another order"
