"""The campaign's result as a table: one row for each fault and story."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from tests.chaos.trial import Result

__all__ = ["as_table", "summary"]

_HEAD = ("fault", "story", "trials", "injected", "requests", "lost", "weights seen", "seconds", "invariants", "end")


def as_table(results: Iterable[Result]) -> str:
    """Columns as wide as they must be."""
    rows: dict[tuple[str, str], list[Result]] = {}
    for result in results:
        rows.setdefault((result.row, result.story), []).append(result)
    cells = [_HEAD, *(_row(fault, story, found) for (fault, story), found in sorted(rows.items()))]
    widths = [max(len(row[column]) for row in cells) for column in range(len(_HEAD))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])


def summary(results: list[Result], seed: int, minutes: float) -> str:
    """What was done in all, and what of it broke."""
    done: Counter[str] = Counter()
    for one in results:
        done.update(one.injected)
    broken = [one for one in results if not one.held]
    lines = [
        f"seed {seed}: {len(results)} trials in {minutes:.1f} min; {sum(done.values())} faults injected, "
        f"the operator died {sum(one.deaths for one in results)} times; "
        f"{sum(one.requests for one in results)} requests of users, {sum(one.lost for one in results)} lost; "
        f"{sum(one.states for one in results)} states of objects judged",
    ]
    for one in broken:
        lines += [f"BROKEN {one.fault}/{one.story}:", *(f"  {text}" for text in [*one.violations, one.ended] if text)]
    lines.append(f"{len(broken)} of {len(results)} trials broke something" if broken else "everything held")
    return "\n".join(lines)


def _row(name: str, story: str, results: list[Result]) -> tuple[str, ...]:
    injected = sum(sum(one.injected.values()) for one in results)
    weights: Counter[str] = Counter("→".join(str(weight) for weight in one.weights) or "-" for one in results)
    common, _ = weights.most_common(1)[0]
    others = f" (+{len(weights) - 1} ways)" if len(weights) > 1 else ""
    seconds = sorted(one.seconds for one in results)
    span = f"{seconds[0]:.0f}" if len(seconds) == 1 else f"{seconds[0]:.0f}–{seconds[-1]:.0f}"
    violated = sum(bool(one.violations) for one in results)
    ended = sum(bool(one.ended) for one in results)
    return (
        name,
        story,
        str(len(results)),
        str(injected),
        str(sum(one.requests for one in results)),
        str(sum(one.lost for one in results)),
        f"{common}{others}",
        span,
        "held" if not violated else f"{violated} VIOLATED",
        "as it should" if not ended else f"{ended} NOT",
    )
