"""Hypothesis: the same examples on every run, so that a red build is about the change; `MODELROLLOUT_FUZZ=N` draws N
new ones instead, to hunt."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, Phase, settings

HUNTING = int(os.environ.get("MODELROLLOUT_FUZZ", "0"))
"""How many new examples to draw; 0 for the fixed ones."""
_COMMON = {"deadline": None, "suppress_health_check": list(HealthCheck), "print_blob": True}

settings.register_profile("fixed", max_examples=200, derandomize=True, database=None, **_COMMON)  # type: ignore[arg-type]
settings.register_profile(
    "hunt",
    max_examples=HUNTING or 1,
    database=None,
    phases=[Phase.generate] if os.environ.get("MODELROLLOUT_FUZZ_UNSHRUNK") else list(Phase),
    **_COMMON,  # type: ignore[arg-type]
)
settings.load_profile("hunt" if HUNTING else "fixed")
