"""Into the cluster's namespace: everything is built before, for there is no network inside."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import os
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from localcluster import namespace
from localcluster.building import build, build_everything
from tests.bench.scale import kwok

__all__ = ["again", "as_json", "say"]


def again(module: str, arguments: Sequence[str]) -> int:
    """Run a bench's command line inside; its exit code."""
    with contextlib.redirect_stdout(sys.stderr):  # what is printed is the result alone
        build(kwok.TOOL)
        build_everything()
    return namespace.run([sys.executable, "-m", module, *arguments])


def say(line: str) -> None:
    """Progress, with the machine's load: it tells how far the latencies can be trusted."""
    print(f"{time.strftime('%H:%M:%S')} [load {os.getloadavg()[0]:.1f}] {line}", file=sys.stderr, flush=True)


def as_json(result: object) -> str:
    """A result as JSON, in which what is no number is null."""
    return json.dumps(_plain(result), indent=2, allow_nan=False)


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {one.name: _plain(getattr(value, one.name)) for one in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, Sequence | set | frozenset) and not isinstance(value, str):
        return [_plain(one) for one in value]
    return None if isinstance(value, float) and math.isnan(value) else value
