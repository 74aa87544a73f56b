"""kopf stays a thin edge: events in, and nothing that would leave traces or keep state."""

from __future__ import annotations

import kopf

from modelrollout.controller.app import Ending
from modelrollout.controller.edge import configure, register
from modelrollout.controller.settings import Settings
from modelrollout.metrics.source_config import single


def test_only_event_handlers_are_registered() -> None:
    registry = kopf.OperatorRegistry()
    register(registry, Settings(single("http://prometheus", allow_promql=False)), Ending())
    assert len(registry._watching.get_all_handlers()) == 2
    for other in (registry._changing, registry._spawning, registry._indexing, registry._webhooks):
        assert not other.get_all_handlers(), "such handlers write annotations or finalizers, or run on their own"


def test_kopf_posts_nothing_and_looks_for_no_peers() -> None:
    settings = kopf.OperatorSettings()
    configure(settings)
    assert settings.posting.enabled is False
    assert settings.peering.standalone is True
    assert settings.networking.request_timeout is not None
    assert settings.networking.request_timeout <= 30
