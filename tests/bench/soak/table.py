"""The result as a table for people. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from tests.bench.soak.run import Result
from tests.bench.soak.samples import Sample

__all__ = ["render"]


def render(result: Result) -> str:
    """A Markdown table, and below it everything that was not as it has to be."""
    plan = result.plan
    rows = [
        ("rollouts, minutes, interval", f"{plan.rollouts}, {plan.seconds / 60:.0f}, {plan.setting.interval}"),
        ("releases promoted", str(result.releases.get("promoted", 0))),
        ("releases rolled back", str(result.releases.get("rolledBack", 0))),
        ("good ones rolled back", str(result.releases.get("goodRolledBack", 0))),
        ("bad ones promoted", str(result.releases.get("badPromoted", 0))),
        ("releases that took more than 10 min", str(result.releases.get("late", 0))),
        ("faults", ", ".join(f"{count} × {name}" for name, count in sorted(result.faults.items())) or "none"),
        (f"memory's slope, {plan.warm_up:.0f} s after each start", str(result.slope)),
        ("memory, MiB: least, most", _range(result.samples, "mib")),
        ("open files: least, most", _range(result.samples, "files")),
        ("  of which sockets", _range(result.samples, "sockets")),
        ("threads: least, most", _range(result.samples, "threads")),
    ]
    if result.objects:
        (counts, sizes), (last_counts, last_sizes) = result.objects[0], result.objects[-1]
        rows += [
            (f"{kind}: after a release of each, at the end", f"{counts[kind]}, {last_counts[kind]}") for kind in counts
        ]
        rows += [(f"largest {what}, bytes", f"{sizes[what]}, {last_sizes[what]}") for what in sizes]
    rows.append(("not as it has to be", str(len(result.complaints))))
    lines = ["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)]
    return "\n".join([*lines, *(f"  {complaint}" for complaint in result.complaints)])


def _range(samples: Sequence[Sample], what: str) -> str:
    values = [getattr(one, what) for one in samples]
    return f"{min(values):.0f}, {max(values):.0f}" if values else "–"
