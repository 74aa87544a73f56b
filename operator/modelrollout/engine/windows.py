"""When steps may go up: whether a weekly window is open, and when it opens next.

Local time decides, so an hour that the clocks skip is in no window, and one that they repeat is in it twice. A window
that goes over midnight belongs to the day on which it opens.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from typing import Final
from zoneinfo import ZoneInfo, available_timezones

from modelrollout.api.window import Day, Window

__all__ = ["closed", "in_words", "is_open", "next_opening", "unknown_zone"]

_DAY: Final = 24 * 60
_WEEK: Final = 7 * _DAY
_MOST_CHANGES: Final = 8
"""Changes of the clocks on the way to an opening: at most two a week are known to have happened anywhere."""


def unknown_zone(window: Window | None) -> str:
    """Why a window can never open: its time zone is none. Empty when all is well."""
    if window is None or _zone(window) is not None:
        return ""
    near = get_close_matches(window.time_zone, available_timezones(), n=2, cutoff=0.6)
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    return f'spec.advanceOnly.timeZone "{window.time_zone}" is no time zone of the IANA database{hint}'


def closed(window: Window | None, at: datetime) -> str:
    """Why nothing goes up at this time, with when that ends; empty when it may."""
    if window is None:
        return ""
    wrong = unknown_zone(window)
    if wrong:
        return wrong
    opens = next_opening(window, at)
    if opens == at:
        return ""
    local = opens.astimezone(ZoneInfo(window.time_zone))
    return f"waits for the window {in_words(window)}, opens {list(Day)[local.weekday()]} {local:%Y-%m-%d %H:%M}"


def in_words(window: Window) -> str:
    """``Mon–Fri 09:00–17:00 Europe/Berlin``."""
    week, named = list(Day), sorted({list(Day).index(day) for day in window.days})
    runs: list[list[int]] = []
    for number in named:
        if runs and runs[-1][-1] == number - 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    parts = [_run([week[number] for number in run]) for run in runs]
    days = "every day" if len(named) == len(week) else ", ".join(parts)
    return f"{days} {window.hours.replace('-', '–')} {window.time_zone}"


def _run(days: list[Day]) -> str:
    return f"{days[0]}–{days[-1]}" if len(days) > 2 else ", ".join(days)


def is_open(window: Window, at: datetime) -> bool:
    """Whether steps may go up at this time; never in an unknown zone."""
    zone = _zone(window)
    return zone is not None and _until_open(window, at.astimezone(zone)) == timedelta()


def next_opening(window: Window, at: datetime) -> datetime:
    """The first instant from ``at`` on, in UTC, at which the window is open.

    Wall clocks run evenly between two changes, so the way is jumped in one go, and from a change on anew.

    Raises
    ------
    zoneinfo.ZoneInfoNotFoundError
        When its time zone is none.
    """
    zone = ZoneInfo(window.time_zone)
    here = at.astimezone(UTC)
    for _ in range(_MOST_CHANGES):
        local = here.astimezone(zone)
        there = here + _until_open(window, local)
        if there.astimezone(zone).utcoffset() == local.utcoffset():
            return there
        here = _change(zone, here, there)
    return here


def _until_open(window: Window, local: datetime) -> timedelta:
    """How long until it opens if no clock is changed; nothing when it is open."""
    begin, end = window.minutes
    length = end - begin if end > begin else end - begin + _DAY
    now = local.weekday() * _DAY + local.hour * 60 + local.minute
    into = timedelta(seconds=local.second, microseconds=local.microsecond)
    waits = [(list(Day).index(day) * _DAY + begin - now) % _WEEK for day in window.days]
    if any(_WEEK - wait < length or wait == 0 for wait in waits):
        return timedelta()
    return timedelta(minutes=min(waits)) - into


def _change(zone: ZoneInfo, early: datetime, late: datetime) -> datetime:
    """The instant between two (not the first) from which on the clocks show another offset than at the first."""
    before = early.astimezone(zone).utcoffset()
    while late - early > timedelta(seconds=1):
        middle = early + (late - early) / 2
        if middle.astimezone(zone).utcoffset() == before:
            early = middle
        else:
            late = middle
    return late.replace(microsecond=0)


def _zone(window: Window) -> ZoneInfo | None:
    try:
        return ZoneInfo(window.time_zone)
    except (ValueError, OSError, LookupError):  # not found is a KeyError; a folder of the database is an OSError
        return None
