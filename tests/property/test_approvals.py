"""Whatever is renamed, edited, forged, said and restarted: nobody gets past people who were not asked."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.support.world import ERRORS, World, spec

_KINDS: Final[tuple[dict[str, Any], ...]] = (
    {"weight": 10, "hold": "2m"},
    {"approval": {"role": "team"}},
    {"approval": {"role": "risk"}},
    {"weight": 50, "hold": "2m"},
    {"approval": {"role": "risk"}},
)
_NAMES: Final = st.sampled_from([list(names) for names in ("abcde", "dbcae", "xbcay", "acbde", "abecd", "eacbd")])


class Approvals(RuleBasedStateMachine):
    """A release with three approvals by two roles; ann releases, and may change everything but their order."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.said: dict[str, tuple[str, str, str]] = {}
        """Approvals by the uid of their decision: revision, role, author."""

    @initialize(names=_NAMES)
    def begin(self, names: list[str]) -> None:
        self.world = World(spec(steps=self._named(names), gates=[ERRORS], warmup="0s"))
        self.world.run(60)
        self.world.apply("2")
        self.world.run(30)

    @staticmethod
    def _named(names: list[str]) -> list[dict[str, Any]]:
        return [kind | {"name": name} for kind, name in zip(_KINDS, names, strict=True)]

    @rule(seconds=st.sampled_from([1.0, 10.0, 60.0, 300.0]))
    def time_passes(self, seconds: float) -> None:
        self.world.run(seconds)

    @rule(names=_NAMES)
    def renames(self, names: list[str]) -> None:
        self.world.apply(steps=self._named(names))
        self.world.run(5)

    @rule(names=_NAMES, seconds=st.sampled_from([20.0, 100.0]))
    def renames_later(self, names: list[str], seconds: float) -> None:
        self.world.run(seconds)
        self.renames(names)

    @rule(gates=st.sampled_from([[], [ERRORS], [ERRORS | {"atMost": "50%"}], [ERRORS | {"onBreach": "warn"}]]))
    def judges_otherwise(self, gates: list[Any]) -> None:
        self.world.apply(gates=gates)
        self.world.run(5)

    @rule(mode=st.sampled_from(["enforce", "observe"]))
    def changes_the_mode(self, mode: str) -> None:
        self.world.apply(mode=mode)

    @rule(version=st.sampled_from(["2", "3"]))
    def names_a_version(self, version: str) -> None:
        self.world.apply(version)
        self.world.run(30)

    @rule(verb=st.sampled_from(["pause", "resume", "promote", "retry"]), full=st.booleans())
    def says(self, verb: str, full: bool) -> None:
        self.world.say(verb, full=full and verb == "promote")
        self.world.run(3)

    @precondition(lambda self: self.world.candidate)
    @rule(role=st.sampled_from(["team", "risk", "risk"]), author=st.sampled_from(["bob", "eve", "ann"]))
    def approves(self, role: str, author: str) -> None:
        revision = self.world.candidate
        uid = self.world.say("approve", role=role, author=author, revision=revision, comment="seen")
        self.said[uid] = (revision, role, author)
        self.world.run(3)

    @precondition(lambda self: self.world.weight > 0)
    @rule(keep=st.booleans())
    def lowers_the_route(self, keep: bool) -> None:
        self.world.edit_route({self.world.stable: 100, self.world.candidate: 0}, keep_marker=keep, by="eve")
        self.world.run(5)

    @precondition(lambda self: self.world.candidate and self.world.route.marker is not None)
    @rule()
    def forges_the_marker(self) -> None:
        marker, shares = self.world.route.marker, {self.world.stable: 50, self.world.candidate: 50}
        assert marker is not None
        self.world.edit_route(shares, by="eve")
        self.world.route.marker = replace(marker, weights=shares)
        self.world.run(5)

    @rule()
    def restarts(self) -> None:
        self.world.restart()
        self.world.run(3)

    def _approved(self, revision: str) -> list[str]:
        """Roles of the approvals of a revision that counted, one for each."""
        done = {uid for uid, answer in self.world.answers.items() if answer.state == "Applied"}
        return [role for uid, (which, role, author) in self.said.items() if uid in done and which == revision]

    @invariant()
    def nobody_is_passed_by(self) -> None:
        world = self.world
        roles = self._approved(world.candidate)
        if world.candidate and world.stable and world.status.weight > 10 and not self._served(world.candidate):
            assert "team" in roles, world.status.message
            assert "risk" in roles, world.status.message
        if world.status.weight > 50 and world.stable and not self._served(world.candidate):
            assert roles.count("risk") >= 2, world.status.message

    def _served(self, revision: str) -> bool:
        view = self.world.observe().revisions.get(revision)
        return view is not None and view.promoted_at is not None


Approvals.TestCase.settings = settings(settings.default, max_examples=30, stateful_step_count=20)
TestApprovals = Approvals.TestCase
