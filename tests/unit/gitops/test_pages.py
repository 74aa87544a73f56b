"""docs/gitops-*.md show what the files in manifests/gitops hold, word for word."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

_ROOT: Final = Path(__file__).parents[3]
PAGES: Final = sorted((_ROOT / "docs").glob("gitops-*.md"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_shows_stands_in_the_file_that_it_names(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    shown = re.findall(r"```yaml\n(.*?)```", text, re.S)
    assert shown
    named = set(re.findall(r"manifests/gitops/[\w./-]+\.yaml", text))
    files = [(_ROOT / name).read_text(encoding="utf-8") for name in named]
    missing = [
        block for block in shown if not any(_without_comments(block) in _without_comments(file) for file in files)
    ]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_folder_in_a_command_exists(page: Path) -> None:
    commands = re.findall(r"^kubectl .*$", page.read_text(encoding="utf-8"), re.M)
    folders = [word for command in commands for word in command.split() if word.startswith("manifests/")]
    assert folders
    assert all((_ROOT / folder).exists() for folder in folders)


def _without_comments(text: str) -> str:
    return "\n".join(line for line in text.splitlines() if not line.strip().startswith("#"))
