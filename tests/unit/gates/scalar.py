"""The sequential test once more, written down slowly: one run, one number at a time, from the formulae of
docs/statistics.md. It shares no code with what it is compared with."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

__all__ = ["Scalar", "evidence"]

_TINY = 1e-9


def _within(value: float, low: float, high: float) -> float:
    return min(max(value, low), high)


def evidence(
    nc: float, xc: float, nb: float, xb: float, a: float, d: float, p: float, phi_c: float, phi_b: float, psi: float
) -> float:
    """Logarithm of the evidence of one stratum against ``θc ≤ a·θb + d``; ``psi``: the bet, in log-odds."""
    if nc <= 0.0:
        return 0.0
    if a == 0.0:
        odds = d / (1.0 - d) * math.exp(psi)
        q = odds / (1.0 + odds)
        return (xc * math.log(q / d) + (nc - xc) * math.log((1.0 - q) / (1.0 - d))) / phi_c
    if nb <= 0.0:
        return 0.0
    p = _within(p, _TINY, 1.0 - _TINY)
    limit = _within(a * p + d, _TINY, 1.0 - _TINY)
    odds = limit / (1.0 - limit) * math.exp(psi)
    q = odds / (1.0 + odds)
    mc, mb = nc / phi_c, nb / phi_b
    vb = vc = 1.0
    tb = tc = 0.0
    for _ in range(3):
        tb = (mb * p / vb + a * mc * (q - d) / vc) / (mb / vb + a * a * mc / vc)
        tb = _within(tb, max(_TINY, (_TINY - d) / a), min(1.0 - _TINY, (1.0 - _TINY - d) / a))
        tc = a * tb + d
        vb, vc = tb * (1.0 - tb), tc * (1.0 - tc)
    gc = (q - tc) / (tc * (1.0 - tc))
    gb = -a * mc * gc / mb
    staked = max(gb * tb, -gb * (1.0 - tb))
    if staked > 0.98:
        gc, gb = gc * 0.98 / staked, gb * 0.98 / staked
    candidate = xc * math.log(1.0 + gc * (1.0 - tc)) + (nc - xc) * math.log(1.0 - gc * tc)
    baseline = xb * math.log(1.0 + gb * (1.0 - tb)) + (nb - xb) * math.log(1.0 - gb * tb)
    return candidate / phi_c + baseline / phi_b


@dataclass
class Scalar:
    """One gate in one rollout. ``floor``: κ² of one interval; ``requests``, ``bad``: the baseline's past, fading."""

    a: float
    d: float
    alpha: float
    psi: list[float]
    floor: float = 0.0
    requests: float = 0.0
    bad: float = 0.0
    guard: bool = False
    good: bool = False
    intervals: int = 2
    later_steps: int = 0
    first_mass: float = 0.5
    steps_mass: float = 0.3
    later_mass: float = 0.2
    pending: list[float] = field(default_factory=lambda: [0.0] * 6)
    elapsed: float = 0.0
    staked: float = 0.0
    fresh: bool = True
    beyond: bool = False

    def __post_init__(self) -> None:
        weights = [max(0.65**k, 0.02) for k in range(len(self.psi))]
        self.weights = [weight / sum(weights) for weight in weights]
        self.breach = [0.0] * len(self.psi)
        self.worse = [0.0] * len(self.psi)
        self.trial = [0.0] * len(self.psi)
        self.proof = [0.0] * len(self.psi)

    def fold(self, nc: float, xc: float, yc: float, nb: float, xb: float) -> None:
        """One more interval; ``yc``: bad ones with every doubt."""
        for i, more in enumerate((nc, xc, yc, nb, xb, 1.0)):
            self.pending[i] += more
        nc, xc, yc, nb, xb, age = self.pending
        compares = self.a > 0.0 or self.guard
        enough = nc >= 1.0 and (not compares or nb >= 5.0) and self._are_shares()
        if enough or age >= 40.0:
            self.close()

    def _are_shares(self) -> bool:
        nc, xc, yc, nb, xb, _ = self.pending
        return 0.0 <= xc <= nc and 0.0 <= yc <= nc and 0.0 <= xb <= nb

    def close(self) -> None:
        """Judge what is pending, then remember it."""
        nc, _, _, nb, xb, age = self.pending
        compares = self.a > 0.0 or self.guard
        if nc > 0.0 and self._are_shares() and (self.requests > 0.0 or not compares):
            self._judge()
        kept = math.exp(-age / 480.0)
        self.requests, self.bad = self.requests * kept + nb, self.bad * kept + xb
        self.pending = [0.0] * 6

    def _phi(self, n: float, p: float, age: float) -> float:
        event = 1.0 - p if self.good else p
        return 1.0 + n * self.floor / age * event**2 / max(p * (1.0 - p), 1e-12)

    def _mass(self, age: float) -> float:
        def kept_for_later(t: float) -> float:
            return self.later_mass * t / (t + 240.0)

        mass = kept_for_later(self.elapsed + age - 1.0) - kept_for_later(max(self.elapsed - 1.0, 0.0))
        if self.staked == 0.0:
            mass += self.first_mass + (0.0 if self.later_steps else self.steps_mass)
        elif self.fresh and self.later_steps:
            mass += self.steps_mass / self.later_steps
        return min(mass, 1.0 - self.staked)

    def _judge(self) -> None:
        nc, xc, yc, nb, xb, age = self.pending
        p = (self.bad + 0.1) / (self.requests + 0.2)
        at = p if self.a > 0.0 else self.d
        needed, m = math.log(1.0 / self.alpha), self.intervals
        most = min((needed + 3.7) / m, 0.999 * needed / (m - 1))
        mass = self._mass(age)
        self.elapsed, self.staked, self.fresh = self.elapsed + age, self.staked + mass, False
        phi = self._phi(nc, at, age), self._phi(nb, at, age)
        gains = [evidence(nc, xc, nb, xb, self.a, self.d, at, *phi, psi) for psi in self.psi]
        alone = max(gains) >= most * self.intervals
        for k, gain in enumerate(gains):
            if gain < 1.0:
                self.breach[k] *= math.exp(-self.trial[k])
            self.trial[k] = max(min(gain, most) - 1.0, 0.0) if alone else 0.0
            self.breach[k] = (self.breach[k] + mass) * math.exp(min(gain, most))
            self.proof[k] += evidence(nc, yc, nb, xb, self.a, self.d, at, *phi, -self.psi[k])
            if self.guard:
                usual = self._phi(nc, p, age), self._phi(nb, p, age)
                worse = evidence(nc, xc, nb, xb, 1.0, 0.0, p, *usual, self.psi[k])
                self.worse[k] = (self.worse[k] + mass) * math.exp(min(worse, most))
        self.beyond = self.beyond or self.log_breach >= needed
        together = self.guard and not self.beyond and self._log_of(self.breach) >= needed
        if together and nc * self.d >= 3.0 and xc <= nc * self.d:  # within the limit again after what both arms did
            self.breach = [0.0] * len(self.psi)

    def _log_of(self, evidence: list[float]) -> float:
        return math.log(sum(w * e for w, e in zip(self.weights, evidence, strict=True)) + 1.0 - self.staked)

    @property
    def log_breach(self) -> float:
        """Logarithm of the evidence that the limit is broken."""
        return min(self._log_of(one) for one in ([self.breach, self.worse] if self.guard else [self.breach]))

    @property
    def log_proof(self) -> float:
        """Logarithm of the evidence that the candidate is within the limit."""
        top = max(self.proof)
        return top + math.log(sum(w * math.exp(e - top) for w, e in zip(self.weights, self.proof, strict=True)))
