"""Who decides, in a world of its own: an API server that checks resourceVersions, answers that get lost or come late,
processes that stand still, and clocks that run at different speeds."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelrollout.controller.lease import Candidacy, Record, Timing

TIMING = Timing()


@dataclass
class Server:
    """One Lease with its resourceVersion."""

    record: Record | None = None
    version: int = 0
    holders: list[tuple[str, int]] = field(default_factory=list)

    def write(self, record: Record, version: int) -> bool:
        """Whether it is taken: nobody else wrote since that version was read."""
        if version != self.version:
            return False
        self.record, self.version = record, self.version + 1
        if record.holder and (record.holder, record.epoch) not in self.holders:
            self.holders.append((record.holder, record.epoch))
        return True


@dataclass
class Process:
    """A process with a clock of its own."""

    name: str
    server: Server
    speed: float = 1.0
    shift: float = 0.0
    version: int = 0
    stamps: int = 0

    def __post_init__(self) -> None:
        self.candidacy = Candidacy(self.name, TIMING)

    def clock(self, true: float) -> float:
        """What its clock shows."""
        return self.shift + true * self.speed

    def read(self, true: float, back: float = 0.0) -> None:
        """Look at the Lease; the answer takes ``back`` seconds."""
        self.version = self.server.version
        self.candidacy.saw(self.server.record, self.clock(true + back))

    def write(self, true: float, back: float = 0.0, *, lost: bool = False) -> bool:
        """Write the proposal, if it may; the answer may get lost. Whether it was granted."""
        sent = self.clock(true)
        if not self.candidacy.may_write(sent):
            return False
        self.stamps += 1
        proposal = self.candidacy.proposal(sent, f"{self.name}-{id(self)}-{self.stamps}")
        taken = self.server.write(proposal, self.version)
        if taken and not lost:
            self.version = self.server.version
            self.candidacy.granted(proposal, sent, self.clock(true + back))
        return taken and not lost

    def leads(self, true: float) -> bool:
        """Whether it would decide now."""
        return self.candidacy.leads(self.clock(true))


@pytest.fixture
def server() -> Server:
    return Server()


def test_the_first_one_gets_it_at_once(server: Server) -> None:
    one = Process("a", server)
    assert not one.write(0.0), "nothing is written before the Lease was read"
    one.read(0.0)
    assert one.write(0.0)
    assert one.leads(0.0)
    assert one.candidacy.epoch == 1


def test_detail_28_a_standby_waits_for_as_long_as_it_sees_no_change(server: Server) -> None:
    first, second = Process("a", server), Process("b", server, shift=-86_400.0)
    first.read(0.0)
    first.write(0.0)
    second.read(0.4)
    assert not second.write(5.3), "it saw the record 4.9 s ago"
    assert second.write(5.5)
    assert (second.candidacy.epoch, first.leads(5.5)) == (2, False)


def test_detail_28_clocks_that_run_at_different_speeds_change_nothing(server: Server) -> None:
    slow, fast = Process("a", server, 0.96), Process("b", server, 1.04)
    slow.read(0.0)
    slow.write(0.0)
    fast.read(0.0)
    true = 0.0
    while not fast.write(true):
        true += 0.01
    assert 4.7 < true < 5.0
    assert not slow.leads(true)


def test_a_renewal_keeps_the_others_away(server: Server) -> None:
    first, second = Process("a", server), Process("b", server)
    first.read(0.0)
    first.write(0.0)
    for turn in range(1, 10):
        assert first.write(turn * 1.5)
        second.read(turn * 1.5 + 0.1)
        assert not second.write(turn * 1.5 + 1.4)
    assert first.candidacy.epoch == 1


def test_a_released_lease_is_free_at_once_and_its_epoch_rises(server: Server) -> None:
    first, second = Process("a", server), Process("b", server)
    first.read(0.0)
    first.write(0.0)
    resigned = first.candidacy.resigned()
    assert resigned is not None
    assert server.write(resigned, first.version)
    assert not first.leads(0.1)
    second.read(0.2)
    assert second.write(0.2)
    assert second.candidacy.epoch == 2


def test_who_does_not_have_it_gives_nothing_back(server: Server) -> None:
    first, second = Process("a", server), Process("b", server)
    first.read(0.0)
    first.write(0.0)
    second.read(0.1)
    assert second.candidacy.resigned() is None


def test_detail_28_a_restarted_container_goes_on_at_once_in_an_epoch_of_its_own(server: Server) -> None:
    before, after = Process("a", server), Process("a", server, shift=1000.0)
    before.read(0.0)
    before.write(0.0)
    after.read(0.5)
    assert after.write(0.5)
    assert after.candidacy.epoch == 2


def test_two_processes_of_one_name_do_not_take_it_from_each_other_for_ever(server: Server) -> None:
    first, second = Process("a", server), Process("a", server)
    first.read(0.0)
    first.write(0.0)
    second.read(0.5)
    second.write(0.5)
    assert not first.write(1.5), "its renewal is refused"
    first.read(1.6)
    assert not first.leads(1.6)
    assert not first.write(1.7), "the name is its own, the record is not"
    assert second.write(2.0)


def test_detail_28_whoever_lost_it_begins_a_new_epoch(server: Server) -> None:
    one = Process("a", server)
    one.read(0.0)
    one.write(0.0)
    assert not one.leads(4.6)
    one.read(9.0)
    assert one.write(9.0)
    assert one.candidacy.epoch == 2


def test_a_renewal_whose_answer_was_lost_is_found_again(server: Server) -> None:
    one = Process("a", server)
    one.read(0.0)
    one.write(0.0)
    one.write(1.5, lost=True)
    assert not one.write(3.3), "with the old resourceVersion it is refused"
    one.read(3.4)
    assert one.leads(3.4), "that is no reason to stop"
    assert one.write(3.4)
    assert one.candidacy.epoch == 1
    assert one.leads(7.8)


def test_detail_28_a_renewal_that_was_answered_too_late_begins_anew(server: Server) -> None:
    one = Process("a", server)
    one.read(0.0)
    one.write(0.0)
    assert one.write(4.0, back=1.0)
    assert not one.leads(5.0), "it stopped at 4.5"
    one.read(5.1)
    assert one.write(5.1)
    assert one.candidacy.epoch == 2


def test_an_acquisition_whose_answer_was_lost_is_found_again(server: Server) -> None:
    one = Process("a", server)
    one.read(0.0)
    one.write(0.0, lost=True)
    assert not one.leads(0.1)
    one.read(0.5)
    assert one.write(0.5)
    assert one.candidacy.epoch == 2


def test_detail_28_an_epoch_that_was_seen_elsewhere_is_risen_above(server: Server) -> None:
    one = Process("a", server)
    one.read(0.0)
    one.write(0.0)
    one.candidacy.rise_above(41)
    assert not one.leads(0.1)
    assert one.write(0.1)
    assert one.candidacy.epoch == 42


def test_a_lease_that_someone_deleted_is_made_again(server: Server) -> None:
    one = Process("a", server)
    one.read(0.0)
    one.write(0.0)
    server.record, server.version = None, 7
    assert not one.write(1.5)
    one.read(1.6)
    assert not one.leads(1.6)
    assert one.write(1.6)


@pytest.mark.parametrize(("lease", "renew", "retry"), [(3, 1.5, 0.5), (5, 1.5, 2.0), (5, 1.5, 0.0)])
def test_timings_that_cannot_be_kept_are_refused(lease: int, renew: float, retry: float) -> None:
    with pytest.raises(ValueError, match="cannot be kept"):
        Timing(lease, renew, retry)


def test_detail_28_an_api_server_that_answers_two_seconds_late_does_not_cost_the_lease() -> None:
    one, now = Candidacy("one", TIMING), 0.0
    one.saw(None, now)
    for _ in range(20):
        sent, record = now, one.proposal(now, f"{now}")
        now += 2.0
        one.granted(record, sent, now)
        assert one.leads(now), "else nobody takes a bad candidate down"
        now += one.pause(now, answered=True)
    assert one.epoch == 1


def test_a_request_about_the_lease_ends_before_the_lease() -> None:
    assert TIMING.renew + TIMING.request <= TIMING.held < TIMING.lease
    assert TIMING.careful < TIMING.held - TIMING.renew, "between two renewals there is always room for a careful write"


MOVES = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.sampled_from(["read", "write", "write", "lose", "resign", "restart"]),
        st.one_of(st.sampled_from([0.0, 0.05, 1.5, 4.7, 4.9, 5.0]), st.floats(0.0, 3.0)),
    ),
    max_size=40,
)


@settings(max_examples=500, deadline=None)
@given(moves=MOVES, speeds=st.tuples(*[st.sampled_from([0.97, 1.0, 1.03])] * 3), late=st.floats(0.0, 2.0))
def test_detail_28_never_do_two_have_it_at_once(
    moves: list[tuple[int, str, float]], speeds: tuple[float, float, float], late: float
) -> None:
    """Three processes do whatever comes in whatever order, with clocks that are off by up to 3 % and answers that take
    ``late`` seconds; a write of the past arrives again whenever something is lost."""
    server, true = Server(), 0.0
    all_three = [
        Process(name, server, speed, shift) for name, speed, shift in zip("abc", speeds, (0, 900, -7e4), strict=True)
    ]
    delayed: list[tuple[Record, int]] = []
    for who, move, seconds in moves:
        true += seconds
        one = all_three[who]
        if move == "read":
            one.read(true, back=late)
        elif move == "write":
            one.write(true)
        elif move == "lose":
            now = one.clock(true)
            if one.candidacy.may_write(now):
                delayed.append((one.candidacy.proposal(now, f"late-{len(delayed)}-{true}"), one.version))
        elif move == "resign":
            record = one.candidacy.resigned()
            if record is not None:
                server.write(record, one.version)
        else:
            all_three[who] = Process(one.name, server, one.speed, one.shift + 1.0)
        for record, version in delayed:
            server.write(record, version)
        leaders = [one for one in all_three if one.leads(true)]
        assert len(leaders) <= 1, [(one.name, one.candidacy.epoch) for one in leaders]
    epochs = [epoch for _, epoch in server.holders]
    assert epochs == sorted(set(epochs)), "each time has an epoch of its own, and they rise"
    assert all(math.isfinite(one.candidacy.until) or one.candidacy.until == -math.inf for one in all_three)
