"""RolloutFreeze: one object that stops the line.

It is cluster-scoped, so that one command holds every release in the cluster, and one look shows whether something does.
Deleting it lifts it; with ``until`` it lifts itself.
"""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field

from modelrollout.api.fields import patterned
from modelrollout.api.meta import ApiModel

__all__ = ["RolloutFreezeSpec"]

_DATE: Final = "[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
_TIME: Final = "([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]([.][0-9]{1,6})?"

Instant = Annotated[
    str,
    patterned(
        f"^{_DATE}T{_TIME}(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$",
        "is not a time; write it with its time zone, like 2026-11-30T09:00:00Z or 2026-11-30T09:00:00+01:00",
        max_length=35,
    ),
]
Reason = Annotated[str, patterned("[^ ]", "is empty; say why nothing may be released", max_length=512)]
NamespaceName = Annotated[
    str,
    patterned(
        "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
        "is not the name of a namespace; patterns and lists in one text are not known",
        max_length=63,
    ),
]


class RolloutFreezeSpec(ApiModel):
    """While it is there, no rollout gets more traffic for its candidate. Rollbacks and everything else go on."""

    reason: Reason
    """Why, as it is shown wherever a rollout waits for it."""
    until: Instant | None = None
    """When it ends by itself (RFC 3339); it lasts until it is deleted when absent."""
    namespaces: (
        Annotated[
            list[NamespaceName],
            Field(min_length=1, max_length=100),
        ]
        | None
    ) = None
    """Namespaces in which it holds; all of them when absent."""
    author: str = Field(default="", max_length=256)
    """Who says it."""
