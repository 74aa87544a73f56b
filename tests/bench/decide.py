"""How many looks a second the engine decides, with three gates: `python -m tests.bench.decide`."""

from __future__ import annotations

import time
from dataclasses import replace

from modelrollout.engine.decide import decide
from modelrollout.engine.model import Input
from tests.support.world import CTR, ERRORS, LATENCY, World, spec

_LOOKS = 500


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


def main() -> None:
    """Print the figure."""
    seen = looks()
    began = time.perf_counter()
    for one in seen:
        decide(one)
    took = time.perf_counter() - began
    print(f"{len(seen) / took:,.0f} looks/s with 3 gates ({took / len(seen) * 1e3:.2f} ms each), on one core")


if __name__ == "__main__":
    main()
