"""``modelrollout lint``: what is wrong with manifests, without a cluster."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from modelrollout.cli.errors import CliError

if TYPE_CHECKING:
    from modelrollout.lint.manifests import Linted

__all__ = ["read_texts", "register"]

_ERRORS: Final = 2
_WARNINGS: Final = 1
_FOLDER: Final = ("*.yaml", "*.yml", "*.json")


def register(cli: click.Group) -> None:
    """Add the command."""
    cli.add_command(_lint)


@click.command("lint")
@click.argument("files", nargs=-1, required=True)
@click.option("--strict", is_flag=True, help="Warnings fail too (exit code 1).")
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", help="How to print.")
def _lint(files: Sequence[str], strict: bool, output: str) -> int:
    """What the API server would refuse, and what it would not tell.

    FILES are manifests, folders of them, or - for standard input; objects of other kinds are skipped. Exit codes: 0
    nothing the API server would refuse, 1 warnings (with --strict), 2 errors.
    """
    from modelrollout.lint.manifests import Severity, lint

    found = lint(read_texts(files))
    errors = sum(one.severity is Severity.ERROR for one in found.findings)
    warnings = len(found.findings) - errors
    if output == "json":
        click.echo(json.dumps(_summary(found), indent=2, ensure_ascii=False))
    else:
        for one in found.findings:
            click.echo(one.text())
        skipped = f", {found.skipped} of other kinds skipped" if found.skipped else ""
        click.echo(
            f"{_many(len(found.objects), 'object')}{skipped}: {_many(errors, 'error')}, {_many(warnings, 'warning')}",
            err=True,
        )
    if not found.objects and not errors and output == "text":
        click.echo("no ModelRollout among them: is it the right file?", err=True)
    return _ERRORS if errors else _WARNINGS if warnings and strict else 0


def read_texts(files: Sequence[str]) -> dict[str, str]:
    """The text of each file, by the name that findings carry.

    Raises
    ------
    CliError
        If one cannot be read.
    """
    texts = {}
    for name in files:
        if name == "-":
            texts["-"] = sys.stdin.read()
            continue
        path = Path(name)
        inside = sorted(one for pattern in _FOLDER for one in path.rglob(pattern)) if path.is_dir() else [path]
        for one in inside:
            texts[str(one)] = _text(one)
    return texts


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise CliError(f"{path}: {error.strerror}", "give a file that can be read", code=_ERRORS) from error
    except UnicodeDecodeError as error:
        raise CliError(f"{path}: not text in UTF-8", "give a YAML file", code=_ERRORS) from error


def _summary(found: Linted) -> dict[str, object]:
    return {
        "findings": [one.summary() for one in found.findings],
        "objects": len(found.objects),
        "skipped": found.skipped,
    }


def _many(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
