"""A short run of every target with the same examples each time; ``python -m tests.fuzz`` hunts for others."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

from tests.fuzz.targets import TARGETS

_EXAMPLES = int(os.environ.get("MODELROLLOUT_FUZZ", "0"))


@pytest.mark.parametrize("name", TARGETS)
def test_nothing_that_is_read_breaks_the_reader(name: str) -> None:
    run = settings(
        max_examples=_EXAMPLES or 80,
        derandomize=not _EXAMPLES,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )(TARGETS[name])
    run()
