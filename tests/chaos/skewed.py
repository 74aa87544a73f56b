"""The operator with a clock that is wrong: ``python -m tests.chaos.skewed SECONDS_FILE …`` as the controller itself.

The file holds by how many seconds, and may change while it runs: the clock steps. Only the wall clock of the operator's
own modules is shifted; timeouts run on the monotonic one, which no step touches.
"""

from __future__ import annotations

import datetime as real
import importlib
import pkgutil
import sys
from pathlib import Path
from typing import Any

import modelrollout
from modelrollout.controller.__main__ import main

_FILE = Path(sys.argv.pop(1))


def _shift() -> real.timedelta:
    text = _FILE.read_text(encoding="ascii").strip()
    return real.timedelta(seconds=float(text or 0))


class _Meta(type):
    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, real.datetime)


class _Shifted(real.datetime, metaclass=_Meta):
    """``datetime`` as the operator's modules see it."""

    @classmethod
    def now(cls, tz: Any = None) -> Any:
        """The wrong time."""
        return real.datetime.now(tz) + _shift()


def _shift_all() -> int:
    """Exchange the name in every module of the operator; in how many."""
    for found in pkgutil.walk_packages(modelrollout.__path__, "modelrollout."):
        if ".cli" not in found.name and ".lab" not in found.name and not found.name.endswith("__main__"):
            importlib.import_module(found.name)
    count = 0
    for name, module in list(sys.modules.items()):
        if name.startswith("modelrollout.") and getattr(module, "datetime", None) is real.datetime:
            module.datetime = _Shifted  # type: ignore[attr-defined]
            count += 1
    return count


if __name__ == "__main__":
    if not _shift_all():
        raise SystemExit("no module of the operator reads the clock: this shifts nothing")
    main()
