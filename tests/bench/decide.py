"""What a look costs the engine, with three gates: `python -m tests.bench.decide`.

Alone, and with the gates folded before together with those of 100 rollouts, as the operator does it.
"""

from __future__ import annotations

import time
from dataclasses import replace

from modelrollout.engine.decide import decide
from modelrollout.engine.folding import fold_ahead
from modelrollout.engine.model import Input
from tests.support.world import CTR, ERRORS, LATENCY, World, spec

_LOOKS = 500
_TOGETHER = 100
_TIMES = 3


def looks() -> list[Input]:
    """What the engine sees in a rollout that goes well: each look with one interval of each gate."""
    world = World(spec(gates=[ERRORS, LATENCY, CTR], steps=[{"weight": 10, "hold": "10h"}]))
    world.run(60)
    world.apply("2")
    world.run(120)
    seen: list[Input] = []
    read = world._measurement

    def remembered(one: Input) -> object:
        found = read(one)
        if found is not None:
            seen.append(replace(one, measurement=found))
        return found

    world._measurement = remembered  # type: ignore[method-assign, assignment]
    while len(seen) < _LOOKS:
        world.run(60)
    return seen


def folded(seen: list[Input]) -> list[Input]:
    """The same with the gates folded already, so many together."""
    found = []
    for first in range(0, len(seen), _TOGETHER):
        some = seen[first : first + _TOGETHER]
        ahead = fold_ahead([(one.spec, one.status, one.measurement) for one in some if one.measurement is not None])
        found += [replace(one, ahead=known) for one, known in zip(some, ahead, strict=True)]
    return found


def main() -> None:
    """Print the figures: CPU time, the best of a few times, on one core."""
    seen = looks()
    alone: list[float] = []
    folding: list[float] = []
    deciding: list[float] = []
    for _ in range(_TIMES):
        at = [time.process_time()]
        for one in seen:
            decide(one)
        at.append(time.process_time())
        ready = folded(seen)
        at.append(time.process_time())
        for one in ready:
            decide(one)
        at.append(time.process_time())
        for column, before, after in zip((alone, folding, deciding), at, at[1:], strict=False):
            column.append((after - before) / len(seen) * 1e3)
    print(f"alone                  {min(alone):.2f} ms a look with 3 gates")
    print(f"folded {_TOGETHER} at once     {min(folding):.2f} ms, and then {min(deciding):.2f} ms")


if __name__ == "__main__":
    main()
