"""The story: a first version, a better one, one that is slow, and one that only users can tell from a good one."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

from demo import measuring, words
from demo.following import Following
from demo.measuring import Release, Series, Share
from demo.rendering import NAMESPACE, ROLLOUT
from demo.screen import Screen
from demo.stage import Stage, StoryError, seconds_since
from demo.versions import FIRST, GOOD, SLOW, WORSE, Version

__all__ = ["LABELS_WITHIN", "LIMIT_SECONDS", "OF_BASELINE", "QUANTILE", "Story"]

_START_SECONDS: Final = 60.0
_RELEASE_SECONDS: Final = 120.0
_OUTAGE_SECONDS: Final = 8.0
_PAST_SECONDS: Final = 65.0
QUANTILE: Final = 0.95
LIMIT_SECONDS: Final = "0.2"
OF_BASELINE: Final = 0.9
LABELS_WITHIN: Final = 2.0
_FOOTNOTE: Final = f"""\
given, shown, breached: how long it took until the HTTPRoute gave the version no traffic any more, since
  given     the route gave it traffic for the first time; gates judge after the warm-up,
  shown     the first scrape with at least {measuring.ENOUGH} of its events and their share beyond the limit,
  breached  the first such verdict; evidence of less than evaluation.minBreachTime breaches nothing.
failed: what users saw failing, of all their requests during the release."""


class Story:
    """Tells itself on a stage, act by act, and remembers how each release went."""

    def __init__(self, stage: Stage, screen: Screen) -> None:
        self._stage = stage
        self._screen = screen
        self.releases: list[Release] = []

    def tell(self) -> None:
        """The whole story.

        Raises
        ------
        StoryError
            If a release does not end as it should.
        """
        self._first()
        self._good()
        self._bad(SLOW, "p95", self._shown_slow)
        worse = self._bad(WORSE, "ctr", self._shown_worse)
        self._screen.table("What stays on record (status of the ModelRollout)", ["", WORSE.name], _rows(worse, "ctr"))
        self._close()

    def _release(self, version: Version) -> Following:
        generation = self._stage.release(version)
        return Following(self._stage, self._screen, version.name, generation)

    # -- the acts -------------------------------------------------------------------------------

    def _first(self) -> None:
        self._screen.heading(f"{FIRST.name}: {FIRST.truth}")
        release = self._release(FIRST)
        release.until(_promoted(FIRST), "stable", _START_SECONDS)
        self._stage.start_users()
        self._screen.event("users come: they look for digits, get ranked images, and click what they like")

    def _good(self) -> None:
        self._screen.heading(f"{GOOD.name}: {GOOD.truth}")
        release = self._release(GOOD)
        if self._stage.cluster.owns_prometheus:
            release.until(_holding, "in the middle of a step", _RELEASE_SECONDS)
            self._outage(release)
        rollout = release.until(_promoted(GOOD), "promoted", _RELEASE_SECONDS)
        self._tell_of_cold_start(rollout["status"]["stable"]["revision"])
        self._note(release, promoted=True, seen="no harm")
        self._past()

    def _past(self) -> None:
        """Time for the stable version to show how much its metrics vary by themselves: 60 intervals at least."""
        begin = time.time()
        self._screen.event("it serves alone for a minute: from that the next releases know how noisy its metrics are")
        while seconds_since(begin) < _PAST_SECONDS:
            self._stage.require_operator()
            self._stage.recorder.wait(_PAST_SECONDS - seconds_since(begin))

    def _tell_of_cold_start(self, revision: str) -> None:
        """How much there was to hold against the good version, had its warm-up been judged."""
        pods = _pods_of(revision)
        fast = self._stage.prometheus.number(f'sum(ranker_request_seconds_bucket{{{pods},le="{LIMIT_SECONDS}"}})')
        total = self._stage.prometheus.number(f"sum(ranker_request_seconds_count{{{pods}}})")
        if fast is not None and total is not None:
            self._screen.event(
                f"{total - fast:,.0f} of {total:,.0f} requests were slower than 200 ms while caches were cold; "
                "the warm-up kept that from being judged",
                "bold",
            )

    def _outage(self, release: Following) -> None:
        """Prometheus goes away in the middle of a step and comes back; the weight must stay where it is."""
        weight = self._stage.recorder.rollout()["status"]["weight"]
        self._screen.event("Prometheus is stopped: from here on nobody knows how the candidate does", "bold magenta")
        begin = time.time()
        self._stage.cluster.stop_prometheus()
        release.until(lambda status: bool(status.get("blind")), "held for want of metrics", _START_SECONDS)
        release.until(lambda _: seconds_since(begin) >= _OUTAGE_SECONDS, "held for want of metrics", _START_SECONDS)
        held = self._stage.recorder.rollout()["status"]["weight"]
        if held != weight:
            raise StoryError(f"the weight went from {weight} to {held} % while nobody could see the metrics")
        self._stage.cluster.start_prometheus()
        away = f"{seconds_since(begin):.0f} s"
        self._screen.event(f"Prometheus is back after {away}; the weight was held at {held} %", "bold magenta")
        release.until(lambda status: not status.get("blind"), "seeing again", _START_SECONDS)

    def _bad(self, version: Version, gate: str, shown: Callable[[str, str, float], float | None]) -> dict[str, Any]:
        """A version that must be rolled back by this gate; returns the ModelRollout as it is then."""
        self._screen.heading(f"{version.name}: {version.truth}")
        stable = self._stage.recorder.rollout()["status"]["stable"]["revision"]
        release = self._release(version)
        rollout = release.until(_rolled_back(version), "rolled back", _RELEASE_SECONDS)
        failed = rollout["status"]["failed"]
        if not failed["message"].startswith(f"{gate}:"):
            raise StoryError(f"{version.name} was rolled back, but not by the gate {gate}: {failed['message']}")
        changes = [change for change in self._stage.recorder.changes() if change.at >= release.began]
        raised, zero = measuring.raised_and_zero(changes, f"{ROLLOUT}-{failed['revision']}")
        if raised is None or zero is None:
            raise StoryError(f"{version.name} was rolled back, but the route never said so: {changes}")
        self._note(
            release,
            promoted=False,
            seen=gate,
            raised_at=raised,
            shown_at=shown(failed["revision"], stable, raised),
            judged_at=words.judged_at(rollout["status"], gate),
            zero_at=zero,
        )
        self._screen.event(_how_fast(self.releases[-1]), "bold")
        return rollout

    def _note(self, release: Following, *, promoted: bool, seen: str, **times: float | None) -> None:
        self.releases.append(
            Release(
                version=release.version,
                promoted=promoted,
                seen=seen,
                users=release.users(),
                peak=release.peak,
                **times,
            )
        )

    # -- what could be seen, and when -------------------------------------------------------------

    def _samples(self, selector: str, since: float) -> list[Series]:
        return self._stage.prometheus.samples(selector, seconds_since(since) + 2 * measuring.MARGIN)

    def _shown_slow(self, revision: str, _stable: str, raised: float) -> float | None:
        """The first scrape with more slow requests than a 95th percentile within the limit allows."""
        pods = _pods_of(revision)
        fast = self._samples(f'ranker_request_seconds_bucket{{{pods},le="{LIMIT_SECONDS}"}}', raised)
        total = self._samples(f"ranker_request_seconds_count{{{pods}}}", raised)
        return measuring.first_below(Share(fast, total, raised - measuring.MARGIN), lambda _: QUANTILE)

    def _shown_worse(self, revision: str, stable: str, raised: float) -> float | None:
        """The first scrape with a click-through rate below the limit."""

        def clicks(of: str) -> Share:
            series = f'{{namespace="{NAMESPACE}",revision="{of}"}}'
            good = self._samples(f"ranker_clicks_total{series}", raised)
            total = self._samples(f"ranker_impressions_total{series}", raised)
            return Share(good, total, raised - measuring.MARGIN, late=LABELS_WITHIN)

        baseline = clicks(stable)
        return measuring.first_below(clicks(revision), lambda at: OF_BASELINE * baseline.at(at)[0])

    # -- the end --------------------------------------------------------------------------------

    def _close(self) -> None:
        self._screen.heading("What happened")
        columns = ["release", "ended", "seen", "given", "shown", "breached", "failed"]
        self._screen.table("", columns, [_summary(release) for release in self.releases])
        users = self._stage.users()
        if users is not None:
            asked, failed = f"{users.asked:,.0f}", f"{users.failed:,.0f}"
            self._screen.say(f"Users sent {asked} requests through all of this and saw {failed} of them fail.", "bold")
        self._screen.say(_FOOTNOTE)
        self._screen.say(
            "The holds were compressed to seconds and the differences are large. Real traffic needs a plan: how long "
            "each hold must be to show the harm that matters, at your requests per second. `modelrollout plan FILE` "
            "computes it."
        )


def _promoted(version: Version) -> Callable[[dict[str, Any]], bool]:
    return lambda status: status["phase"] == "Stable" and status["stable"]["version"] == version.name


def _rolled_back(version: Version) -> Callable[[dict[str, Any]], bool]:
    return lambda status: status["phase"] == "RolledBack" and status["failed"]["version"] == version.name


def _pods_of(revision: str) -> str:
    """Matchers for the metrics of a revision's pods."""
    return f'namespace="{NAMESPACE}",pod=~"{ROLLOUT}-{revision}-.*"'


def _holding(status: dict[str, Any]) -> bool:
    """In the middle of a step: the candidate has its share of the traffic and is being judged."""
    weight = status.get("weight", 0)
    return weight > 0 and status.get("observedWeight") == weight and status["reason"] in ("Holding", "TooEarly")


def _rows(rollout: dict[str, Any], gate: str) -> list[list[str]]:
    return [[name, value] for name, value in words.incident(rollout, gate)]


def _how_fast(release: Release) -> str:
    shown, raised = release.to_zero(release.shown_at), release.to_zero(release.raised_at)
    words = f"{release.version} lost its traffic {raised:.1f} s after it was first given any"
    if shown is None:
        return f"{words}, before {measuring.ENOUGH} of its events were scraped"
    return f"{words}, {shown:.1f} s after the first scrape that showed it"


def _seconds(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f} s"


def _summary(release: Release) -> list[str]:
    return [
        release.version,
        "promoted" if release.promoted else f"rolled back at {release.peak} %",
        release.seen,
        _seconds(release.to_zero(release.raised_at)),
        _seconds(release.to_zero(release.shown_at)),
        _seconds(release.to_zero(release.judged_at)),
        f"{release.users.failed:,.0f} of {release.users.asked:,.0f}",
    ]
