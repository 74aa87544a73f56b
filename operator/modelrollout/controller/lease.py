"""Who decides: one process's view of the Lease, as a state machine without clock and network.

A Lease (coordination.k8s.io/v1) names the process that decides. Its holder renews it; the others may take it once it
did not change for as long as it promises. Three things keep two processes from deciding at once:

- Clocks of two machines are never compared. Each process measures on its own clock how long ago it *saw* the record
  change; the times that are written in it are for people.
- The holder counts from before it sent its last renewal and gives up a tenth of the duration early; the others count
  from after they saw the change. A clock that runs a few percent too fast or too slow changes nothing.
- Every write carries the resourceVersion that was read, so a late one is refused.

Each time that somebody begins to decide, also the same process again, the *epoch* (``leaseTransitions``) rises. It is
written with every weight and every status, so that what an earlier one left can be told apart.

Why not the client's own election: it compares the record's times with the local clock, and has no epoch.

Source: Kubernetes API reference, Lease v1; KEP-589.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

__all__ = ["Candidacy", "Record", "Timing"]

_EARLY = 0.1
"""Share of the duration that the holder gives up before the others may begin."""


@dataclass(frozen=True, slots=True)
class Timing:
    """How long a Lease lasts, all in seconds."""

    lease: int = 5
    """Without renewal it is free after that. A whole number, because the record holds whole seconds."""
    renew: float = 1.5
    """Between two renewals."""
    retry: float = 0.5
    """Between two looks of a process that waits, or whose renewal failed."""

    def __post_init__(self) -> None:
        if not 0 < self.retry <= self.renew or self.lease < 2.0 * (self.renew + self.retry):
            raise ValueError(
                f"a lease of {self.lease} s, renewed every {self.renew:g} s and retried every {self.retry:g} s cannot "
                "be kept: give a lease of at least twice renewal and retry together, and no longer retry than renewal"
            )

    @property
    def held(self) -> float:
        """For how long the holder counts on it."""
        return self.lease * (1.0 - _EARLY)

    @property
    def request(self) -> float:
        """Timeout of a request about the Lease: all the time there is. An API server that answers late must not cost
        the Lease, for then nobody would take a bad candidate down; what fails quickly is tried again after ``retry``,
        and while an API server hangs nothing else could be written either."""
        return self.held - self.renew

    @property
    def careful(self) -> float:
        """Timeout of a write that must not arrive after the Lease was lost."""
        return self.lease / 2.0


@dataclass(frozen=True, slots=True)
class Record:
    """What stands in the Lease."""

    holder: str
    """Empty: it was released."""
    seconds: int
    """How long the holder may go without renewing it."""
    epoch: int
    acquired: str
    """When this holder got it, in the holder's words: compared for equality only."""
    renewed: str
    """When it was renewed, likewise."""


class Candidacy:
    """One process that wants the Lease. ``now`` is its own monotonic clock, in seconds."""

    def __init__(self, me: str, timing: Timing) -> None:
        self.me = me
        self._timing = timing
        self._known: Record | None = None
        self._changed_at = -math.inf
        self._read = False
        self._ours: set[str] = set()
        """Times of acquisition that this process wrote, answered or not, and that may still come to stand there."""
        self._wanted = ""
        """The one among them with which it tries to get the Lease now."""
        self._above = 0
        self.epoch = 0
        """Of the last time that this process got the Lease; 0 before."""
        self.until = -math.inf
        """Until when this process counts on having it."""

    def leads(self, now: float) -> bool:
        """Whether this process has the Lease for sure."""
        return now < self.until

    def saw(self, record: Record | None, now: float) -> None:
        """Take in what was read; ``now``: when the answer had come."""
        changed = not self._read or record != self._known
        if record is not None and not self._read and record.holder == self.me:
            self._ours.add(record.acquired)  # of the container that ran before this one, in the same pod
        if changed:
            self._known, self._changed_at, self._read = record, now, True
        if not self._is_mine(record):
            self.until = -math.inf
            if changed:
                self._wanted, self._ours = "", set()  # what was sent before that will be refused
        elif record is not None and record.epoch != self.epoch:
            self.until = -math.inf

    def _is_mine(self, record: Record | None) -> bool:
        """Whether this process wrote it. The name alone proves nothing: two may have been given the same."""
        return record is not None and record.holder == self.me and record.acquired in self._ours

    def may_write(self, now: float) -> bool:
        """Whether it is this process's to renew or to take."""
        if self.leads(now):
            return True
        if not self._read:
            return False
        known = self._known
        free = known is None or not known.holder or now - self._changed_at >= known.seconds
        return free or self._is_mine(known)

    def proposal(self, now: float, stamp: str) -> Record:
        """What to write; ``stamp``: the time in words, different for each write of each process."""
        known = self._known
        if self.leads(now) and known is not None:
            return replace(known, renewed=stamp)
        epoch = max(self._above, known.epoch if known is not None else 0) + 1
        self._wanted = self._wanted or stamp
        self._ours.add(self._wanted)
        return Record(self.me, self._timing.lease, epoch, self._wanted, stamp)

    def granted(self, record: Record, sent: float, now: float) -> None:
        """The API server took a proposal; ``sent``: the time before it was sent. A renewal that was answered too late
        prolongs nothing: this process has stopped by then, and begins anew."""
        late = record.epoch == self.epoch and now >= self.until
        self._known, self._changed_at, self._read = record, sent, True
        self._ours, self._wanted = {record.acquired}, ""
        self.epoch, self.until = record.epoch, -math.inf if late else sent + self._timing.held

    def rise_above(self, epoch: int) -> None:
        """Give up this time, and take the Lease anew with an epoch above one that was seen elsewhere: the Lease was
        deleted since, or a copy of the operator works under another one."""
        self._above = max(self._above, epoch)
        self.until = -math.inf

    def resigned(self) -> Record | None:
        """What to write to let the next one begin at once; None when there is nothing to give back."""
        known, self.until = self._known, -math.inf
        return replace(known, holder="", seconds=1) if known is not None and self._is_mine(known) else None

    def pause(self, now: float, *, answered: bool) -> float:
        """Seconds until there is something to do; ``answered``: the last request about the Lease succeeded. An answer
        that came late leaves no time for a pause."""
        due = self.until - self._timing.held + self._timing.renew
        if now < due:
            return due - now
        return 0.0 if answered and self.leads(now) else self._timing.retry
