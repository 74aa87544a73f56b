"""What the web page may know of the operator: its memory, to be read and never to be written."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any

from modelrollout.api.objects import Rollout
from modelrollout.api.status import ModelRolloutStatus
from modelrollout.controller.store import Key, Store
from modelrollout.kube.client import Kube
from modelrollout.kube.reflector import Reflector
from modelrollout.web.access import Access
from modelrollout.web.readings import Readings
from modelrollout.web.server import WebPage
from modelrollout.web.settings import WebSettings

__all__ = ["Page"]

_log = logging.getLogger(__name__)


class Page:
    """The web page, fed by the reconciler."""

    def __init__(self, settings: WebSettings, kube: Kube, store: Store, deployments: Reflector) -> None:
        self._readings = Readings()
        self._store = store
        self._deployments = deployments
        self._server = WebPage(settings, self, self._readings, Access(kube))

    async def run(self) -> None:
        """Serve until cancelled."""
        await self._server.run()

    def note(self, rollout: Rollout, status: ModelRolloutStatus) -> None:
        """Take in what a look left. A fault of the page must never stand in the way of a release."""
        try:
            self._readings.note(rollout, status, datetime.now(UTC))
        except Exception:
            _log.exception("%s/%s: the web page could not note the readings", *rollout.key)

    def every(self) -> list[Key]:
        """Namespace and name of every ModelRollout."""
        return self._store.every()

    def rollout(self, key: Key) -> dict[str, Any] | None:
        """One ModelRollout as the API server has it."""
        return self._store.rollout(key)

    def live(self, key: Key, uid: str) -> ModelRolloutStatus | None:
        """Its status with the numbers of the last look."""
        return self._store.live(key, uid)

    def deployments(self, key: Key) -> list[dict[str, Any]]:
        """The Deployments of its revisions."""
        return list(self._deployments.labelled(*key))
