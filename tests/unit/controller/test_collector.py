"""The garbage collector leaves what lives as long as the process alone."""

from __future__ import annotations

import gc

from modelrollout.controller import collector


def test_what_was_made_at_the_start_is_not_searched_any_more() -> None:
    before = gc.get_threshold()
    try:
        collector.calm()
        assert gc.get_freeze_count() > 1000
        assert gc.get_threshold() > before
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)
