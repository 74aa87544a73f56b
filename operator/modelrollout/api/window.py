"""When steps may go up: a weekly window, as people say it.

The API server knows no time zones, so admission checks only how the name is spelled; the engine says so when it names
no zone.

Source of the names: the IANA time zone database.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final

from pydantic import Field

from modelrollout.api.fields import patterned, ruled
from modelrollout.api.meta import ApiModel, rule

__all__ = ["Day", "Window"]

_HOURS: Final = "^([01][0-9]|2[0-3]):[0-5][0-9]-(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$"


class Day(StrEnum):
    """A day of the week, in the order of :meth:`datetime.date.weekday`."""

    MON = "Mon"
    TUE = "Tue"
    WED = "Wed"
    THU = "Thu"
    FRI = "Fri"
    SAT = "Sat"
    SUN = "Sun"


Hours = Annotated[
    str,
    ruled(
        rule(
            f"self.matches('{_HOURS}')",
            'is not a time of the day from-to; write it like "09:00-17:00" ("22:00-06:00" goes over midnight, '
            '"00:00-24:00" is the whole day)',
        ),
        rule(
            "self.size() != 11 || self.substring(0, 5) != self.substring(6)",
            'begins when it ends; write "00:00-24:00" for the whole day',
        ),
        max_length=11,
    ),
]
ZoneName = Annotated[
    str,
    patterned(
        "^[A-Z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+){0,2}$",
        "is not the name of a time zone; write one of the IANA database, like Europe/Berlin or UTC (an offset like "
        "+02:00 does not know of summer time)",
        max_length=64,
    ),
]


class Window(ApiModel):
    """A weekly window in local time."""

    days: list[Day] = Field(default_factory=lambda: list(Day), min_length=1, max_length=7)
    """Days on which it opens; every day when absent."""
    hours: Hours = "00:00-24:00"
    """From when to when. One that goes over midnight ("22:00-06:00") belongs to the day on which it opens."""
    time_zone: ZoneName = "UTC"
    """Time zone of days and hours, by its IANA name ("Europe/Berlin"). Summer time is followed."""

    @property
    def minutes(self) -> tuple[int, int]:
        """From when to when, in minutes since midnight; the end is the smaller one when it goes over midnight."""
        begin, end = ((int(text[:2]) * 60 + int(text[3:])) for text in self.hours.split("-"))
        return begin, end
