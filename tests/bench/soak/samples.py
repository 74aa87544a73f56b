"""Samples of a process and the slope of its memory. Pure, but for reading /proc."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Final

import numpy as np

from tests.bench.scale.meters import memory_mib

__all__ = ["Sample", "Slope", "sample", "slope"]

_BLOCK_SECONDS: Final = 120.0
"""Samples are averaged over such blocks first: neighbors are too alike to count as independent."""


@dataclass(frozen=True)
class Sample:
    """A process at a moment. ``life``: which start of it; ``age``: seconds since that."""

    at: float
    life: int
    age: float
    mib: float
    files: int
    sockets: int
    threads: int


@dataclass(frozen=True)
class Slope:
    """MiB per hour with its standard error, from so many block means."""

    per_hour: float
    error: float
    blocks: int

    def __str__(self) -> str:
        if math.isnan(self.per_hour):
            return "too short to say"
        return f"{self.per_hour:+.2f} ± {self.error:.2f} MiB/h ({self.blocks} blocks)"


def sample(pid: int, at: float, life: int, born: float) -> Sample:
    """A process now."""
    folder = Path(f"/proc/{pid}")
    targets = [_target(one) for one in (folder / "fd").iterdir()]
    threads = int((folder / "status").read_text(encoding="ascii").split("Threads:")[1].split()[0])
    sockets = sum(target.startswith("socket:") for target in targets)
    return Sample(at, life, at - born, memory_mib(pid), len(targets), sockets, threads)


def _target(link: Path) -> str:
    try:
        return str(link.readlink())
    except OSError:  # closed since it was listed
        return ""


def slope(samples: Sequence[Sample], warm_up: float) -> Slope:
    """Least squares over all lives of the process together, each with a level of its own, after its warm-up."""
    blocks = list(_blocks([one for one in samples if one.age >= warm_up]))
    lives = sorted({life for life, _, _ in blocks})
    degrees = len(blocks) - len(lives) - 1
    if degrees < 1:
        return Slope(math.nan, math.nan, len(blocks))
    times = np.array([at for _, at, _ in blocks]) / 3600.0
    sizes = np.array([mib for _, _, mib in blocks])
    of = np.array([lives.index(life) for life, _, _ in blocks])
    for life in range(len(lives)):
        times[of == life] -= times[of == life].mean()
        sizes[of == life] -= sizes[of == life].mean()
    spread = float((times**2).sum())
    if spread == 0.0:
        return Slope(math.nan, math.nan, len(blocks))
    found = float((times * sizes).sum()) / spread
    rest = float(((sizes - found * times) ** 2).sum())
    return Slope(found, math.sqrt(rest / degrees / spread), len(blocks))


def _blocks(samples: Sequence[Sample]) -> Iterator[tuple[int, float, float]]:
    """Life, time and memory of each block, averaged."""
    for (life, _), some in groupby(samples, lambda one: (one.life, one.at // _BLOCK_SECONDS)):
        block = list(some)
        yield life, float(np.mean([one.at for one in block])), float(np.mean([one.mib for one in block]))
