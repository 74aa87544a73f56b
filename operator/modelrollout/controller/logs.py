"""The operator's log: a line for each thing that happens, as text for people or as JSON for machines.

Each line knows what it is about (the rollout, its revision and reason, whether this process leads) without every call
saying so: the reconciler notes it in the task's context. What repeats itself is said a few times and then counted, so
that an API server that is down fills no disk.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, TextIO

from modelrollout.telemetry import meters

__all__ = ["About", "LogHandler", "about", "configure", "flush_repeated", "note", "set_standing"]

_BURST: Final = 5
_WINDOW_SECONDS: Final = 60.0
_KINDS: Final = 50
"""Complaints that are told apart by their words in a minute; from then on only by the place in the code."""
_COMPARED: Final = 300
_CHANGES: Final = re.compile(r"[0-9a-f]{8,}|\d+")
_LONGEST: Final = 16_384
_SECRET: Final = re.compile(r"(?i)(://[^\s/:@]*:)[^\s/@]+(?=@)|(\b(?:bearer|basic)\s+)[\w.~+/=-]{8,}")
"""Passwords in URLs and tokens in headers: nothing logs them on purpose, but a library's error might."""


@dataclass(slots=True)
class About:
    """What the work of the moment is about."""

    rollout: str = ""
    """Namespace and name."""
    revision: str = ""
    """The candidate's, or else the stable one's."""
    reason: str = ""


_about: ContextVar[About | None] = ContextVar("about", default=None)
_standing: dict[str, Any] = {}
"""Whether this process leads, and under which epoch: the same in every line."""


@contextmanager
def about(namespace: str, name: str) -> Iterator[About]:
    """Everything that is logged inside is about this rollout."""
    token = _about.set(found := About(f"{namespace}/{name}"))
    try:
        yield found
    finally:
        _about.reset(token)


def note(revision: str, reason: str) -> None:
    """More of what the work of the moment is about."""
    found = _about.get()
    if found is not None:
        found.revision, found.reason = revision, reason


def set_standing(**fields: bool | int | str) -> None:
    """Say in every line from now on whether this process leads, and under which epoch."""
    _standing.update(fields)


def _fields() -> dict[str, Any]:
    found = _about.get()
    known = {"rollout": found.rollout, "revision": found.revision, "reason": found.reason} if found else {}
    return {name: value for name, value in known.items() if value} | _standing


def _without_secrets(text: str) -> str:
    return _SECRET.sub(lambda hit: f"{hit[1] or hit[2]}***", text)


def _on_one_line(text: str) -> str:
    """What users wrote must not look like a line of its own, nor move a terminal's cursor."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


class JsonFormatter(logging.Formatter):
    """One JSON object on one line."""

    def format(self, record: logging.LogRecord) -> str:
        """Time (RFC 3339, UTC), level, logger, message, what it is about, and the whole exception as one field."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")[:-6] + "Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _without_secrets(record.getMessage()[:_LONGEST]),
        }
        line |= getattr(record, "about", {})
        if record.exc_info:
            line["exception"] = _without_secrets(self.formatException(record.exc_info)[-_LONGEST:])
        return json.dumps(line, ensure_ascii=False)


class TextFormatter(logging.Formatter):
    """For a terminal; a traceback keeps its lines, a message has one."""

    def format(self, record: logging.LogRecord) -> str:
        """Time, level, logger and message."""
        at = datetime.fromtimestamp(record.created, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
        message = _on_one_line(_without_secrets(record.getMessage()[:_LONGEST]))
        line = f"{at} {record.levelname} {record.name}: {message}"
        return f"{line}\n{_without_secrets(self.formatException(record.exc_info))}" if record.exc_info else line


@dataclass(slots=True)
class _Repeated:
    """How often the same was complained of in this window."""

    until: float
    said: int = 0
    kept: int = 0
    last: logging.LogRecord | None = field(default=None)


class LogHandler(logging.StreamHandler[TextIO]):
    """Writes to standard error. Of the same complaint, about whatever rollout, a few in a minute; then how many more
    there were, with the last of them."""

    def __init__(self, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(stream or sys.stderr)
        self._clock = clock
        self._repeated: dict[tuple[str, int, str], _Repeated] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Write it, or count it."""
        meters.LOGGED.labels(record.levelname.lower()).inc()
        record.about = _fields()
        self.flush_repeated()
        if record.levelno < logging.WARNING or record.levelno >= logging.CRITICAL or self._may(record):
            super().emit(record)

    def flush_repeated(self) -> None:
        """Say of what was only counted how often it was, when its minute is over."""
        with self.lock or nullcontext():  # threads of libraries log, too
            now = self._clock()
            for kind in [kind for kind, one in self._repeated.items() if one.until <= now]:
                over = self._repeated.pop(kind)
                if over.last is not None:
                    super().emit(_summary(over.last, over.kept))

    def _may(self, record: logging.LogRecord) -> bool:
        words = _words(record) if len(self._repeated) < _KINDS else ""
        one = self._repeated.setdefault((record.name, record.lineno, words), _Repeated(self._clock() + _WINDOW_SECONDS))
        if one.said < _BURST:
            one.said += 1
            return True
        one.kept += 1
        one.last = record
        return False


def _words(record: logging.LogRecord) -> str:
    """What it complains of, whatever the rollout, the revision and the number of seconds."""
    rollout = getattr(record, "about", {}).get("rollout", "")
    text = record.getMessage()[:_COMPARED]
    return _CHANGES.sub("#", text.replace(rollout, "") if rollout else text)


def _summary(last: logging.LogRecord, kept: int) -> logging.LogRecord:
    """The last one, with how many like it were not written."""
    text = f"{last.getMessage()} ({kept} like this were not written in {_WINDOW_SECONDS:.0f} s)"
    summary = logging.LogRecord(last.name, last.levelno, last.pathname, last.lineno, "%s", (text,), None)
    summary.about = getattr(last, "about", {})
    return summary


def flush_repeated() -> None:
    """Say of what was only counted how often it was."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, LogHandler):
            handler.flush_repeated()


def configure(style: str, *, verbose: bool) -> None:
    """Let everything, also libraries, log in one style: ``text`` or ``json``."""
    handler = LogHandler()
    handler.setFormatter(JsonFormatter() if style == "json" else TextFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.getLogger("modelrollout").setLevel(logging.DEBUG if verbose else logging.INFO)
    logging.getLogger("kopf").setLevel(logging.INFO if verbose else logging.WARNING)
