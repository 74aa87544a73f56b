"""Hypothesis: the same examples on every run, so that a red build is about the change; `MODELROLLOUT_FUZZ=N` draws N
new ones instead, to hunt."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, Phase, settings

_HUNT = os.environ.get("MODELROLLOUT_FUZZ", "")
_COMMON = {"deadline": None, "suppress_health_check": list(HealthCheck), "print_blob": True}

settings.register_profile("fixed", derandomize=True, database=None, **_COMMON)  # type: ignore[arg-type]
settings.register_profile(
    "hunt",
    max_examples=int(_HUNT or 1),
    database=None,
    phases=[Phase.generate] if os.environ.get("MODELROLLOUT_FUZZ_UNSHRUNK") else list(Phase),
    **_COMMON,  # type: ignore[arg-type]
)
settings.load_profile("hunt" if _HUNT else "fixed")
