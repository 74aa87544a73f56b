"""What a pod is told when the API server does not give what it needs."""

from pathlib import Path
from typing import Any, cast

import pytest

from localcluster.node import client as api
from localcluster.node.environment import InvalidReferenceError
from localcluster.node.resources import Resources

_CONTAINER: dict[str, Any] = {
    "env": [{"name": "MODE", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "mode"}}}]
}
_POD: dict[str, Any] = {"metadata": {"namespace": "recs", "name": "one"}, "spec": {"containers": [_CONTAINER]}}


class _Refusing:
    """Answers with these statuses, one after the other, then with the ConfigMap."""

    def __init__(self, *statuses: int) -> None:
        self._statuses = list(statuses)

    async def request(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        if self._statuses:
            raise api.ApiError(self._statuses.pop(0), "no")
        return {"data": {"mode": "fast"}}


async def test_what_is_refused_for_good_is_said_and_not_asked_for_ever(tmp_path: Path) -> None:
    resources = Resources(cast(Any, _Refusing(403)), _POD, tmp_path)
    with pytest.raises(InvalidReferenceError, match=r"configmaps/settings.*403"):
        await resources.prepare(_CONTAINER, "10.0.0.1")


async def test_a_busy_server_is_asked_again(tmp_path: Path) -> None:
    resources = Resources(cast(Any, _Refusing(429, 503)), _POD, tmp_path)
    assert (await resources.prepare(_CONTAINER, "10.0.0.1"))["MODE"] == "fast"
