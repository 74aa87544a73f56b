"""The local copy against a server that lists, watches, forgets and lies late."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from modelrollout.kube.client import PODS, Gone, Kube, KubeError
from modelrollout.kube.reflector import Reflector

Body = dict[str, Any]


def _pod(name: str, version: int, **labels: str) -> Body:
    return {
        "metadata": {"namespace": "recs", "name": name, "resourceVersion": str(version), "labels": labels},
    }


class _Server:
    """Answers lists in turn; each watch plays a script of events and errors, the last one stays open."""

    def __init__(self, lists: list[tuple[int, list[Body]]], watches: list[list[Body | Exception]]) -> None:
        self.lists, self.watches = lists, watches
        self.watched_from: list[str] = []

    async def get(self, _: str, **__: str) -> Body:
        version, items = self.lists.pop(0)
        return {"metadata": {"resourceVersion": str(version)}, "items": items}

    async def watch(self, _: str, version: str, __: str) -> AsyncIterator[Body]:
        self.watched_from.append(version)
        if not self.watches:
            await asyncio.Event().wait()
        for event in self.watches.pop(0):
            if isinstance(event, Exception):
                raise event
            yield event


async def _follow(server: _Server, until: str = "") -> tuple[Reflector, list[str]]:
    """Run a reflector until the script is over; it, and the names that changed in turn."""
    changed: list[str] = []
    reflector = Reflector(
        cast(Kube, server), PODS, lambda body: changed.append(body["metadata"]["name"]), index="modelrollout.io/name"
    )
    task = asyncio.create_task(reflector.run())
    for _ in range(400):
        if not server.watches and not server.lists and len(server.watched_from) and (not until or until in changed):
            break
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.02)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    return reflector, changed


def _event(kind: str, body: Body) -> Body:
    return {"type": kind, "object": body}


async def test_lists_then_follows() -> None:
    added = _event("ADDED", _pod("b", 6, **{"modelrollout.io/name": "ranker"}))
    server = _Server([(5, [_pod("a", 3)])], [[added, _event("DELETED", _pod("a", 7))]])
    reflector, changed = await _follow(server)
    assert changed == ["a", "b", "a"]
    assert list(reflector.objects) == [("recs", "b")]
    assert [one["metadata"]["name"] for one in reflector.labelled("recs", "ranker")] == ["b"]
    assert server.watched_from[0] == "5"


async def test_after_410_what_vanished_is_gone_and_told() -> None:
    server = _Server([(5, [_pod("a", 3), _pod("b", 4)]), (9, [_pod("b", 8)])], [[Gone(410, "too old")]])
    reflector, changed = await _follow(server)
    assert list(reflector.objects) == [("recs", "b")]
    assert changed == ["a", "b", "a"], "b is as it was"


async def test_a_break_is_taken_up_again_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    server = _Server([(5, []), (6, [_pod("a", 6)])], [[KubeError(0, "connection reset")]])
    reflector, _ = await _follow(server)
    assert ("recs", "a") in reflector.objects
    assert [record.getMessage() for record in caplog.records] == ["watching pods: connection reset; again in 0.2 s"]


async def test_a_stream_that_ends_goes_on_from_where_it_was() -> None:
    bookmark = _event("BOOKMARK", {"metadata": {"resourceVersion": "40"}})
    server = _Server([(5, [])], [[_event("ADDED", _pod("a", 6)), bookmark], [_event("ADDED", _pod("b", 41))]])
    _, changed = await _follow(server, until="b")
    assert server.watched_from[:2] == ["5", "40"]
    assert changed == ["a", "b"]


async def test_an_own_write_is_known_at_once_and_not_taken_back_by_late_news() -> None:
    late = [_event("MODIFIED", _pod("a", 6, role="old")), _event("DELETED", _pod("a", 7))]
    reflector, _ = await _follow(_Server([(5, [_pod("a", 5, role="old")])], []))
    reflector.learn(_pod("a", 9, role="new"))
    for event in late:
        if event["type"] == "DELETED":
            reflector._forget(event["object"])
        else:
            reflector._remember(event["object"])
        found = reflector.get("recs", "a")
        assert found is not None
        assert found["metadata"]["labels"] == {"role": "new"}


async def test_a_list_from_before_an_own_creation_does_not_drop_it() -> None:
    server = _Server([(5, []), (8, [])], [[Gone(410, "too old")]])
    changed: list[Body] = []
    reflector = Reflector(cast(Kube, server), PODS, changed.append)
    await reflector._list()
    reflector.learn(_pod("a", 9))
    await reflector._list()
    assert reflector.get("recs", "a") is not None


async def test_a_long_list_comes_in_pieces() -> None:
    class Paged(_Server):
        asked: list[dict[str, str]]

        async def get(self, _: str, **query: str) -> Body:
            self.asked.append(query)
            version, items = self.lists[0]
            at = int(query.get("continue", "0"))
            if at + 1 == len(items):
                self.lists.pop(0)
            more = {"continue": str(at + 1)} if at + 1 < len(items) else {}
            return {"metadata": {"resourceVersion": str(version)} | more, "items": items[at : at + 1]}

    server = Paged([(5, [_pod("a", 1), _pod("b", 2), _pod("c", 3)])], [])
    server.asked = []
    reflector, changed = await _follow(server)
    assert changed == ["a", "b", "c"]
    assert [one.get("continue") for one in server.asked] == [None, "1", "2"]
    assert server.watched_from == ["5"]
    assert len(reflector.objects) == 3


async def test_the_echo_of_an_own_write_is_no_change_but_the_write_is_one() -> None:
    echo = _event("MODIFIED", _pod("a", 7, **{"modelrollout.io/role": "stable"}))
    later = _event("MODIFIED", _pod("a", 8, **{"modelrollout.io/role": "retired"}))
    server = _Server([(5, [_pod("a", 3)])], [[_event("BOOKMARK", {"metadata": {"resourceVersion": "6"}}), echo, later]])
    changed: list[str] = []
    over = asyncio.Event()

    def note(body: Body) -> None:
        changed.append(body["metadata"]["resourceVersion"])
        if changed[-1] == "8":
            over.set()

    reflector = Reflector(cast(Kube, server), PODS, note)
    reflector.learn(_pod("a", 7, **{"modelrollout.io/role": "stable"}))
    task = asyncio.create_task(reflector.run())
    await asyncio.wait_for(over.wait(), 5)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert changed == ["7", "8"]
