"""Which Prometheus a rollout's gates are read from: one of the operator's, by name, or the team's own, by address.

Each has a client, a breaker and a batch of its own, so that an outage of one slows nobody who uses another. A source
that a namespace may not use does not exist for it: neither its name nor its address is ever told there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from modelrollout.addresses import AddressError, allowed
from modelrollout.api.gate import Gate
from modelrollout.api.grammar import parse_duration
from modelrollout.api.objects import Rollout
from modelrollout.api.rollout import OwnPrometheus
from modelrollout.engine.evidence import Plan
from modelrollout.engine.model import GateMeasurement, Measurement, Problem, ProblemKind
from modelrollout.kube.client import Kube
from modelrollout.kube.secrets import SecretError, read_secret
from modelrollout.metrics.access import AccessError, Basic, Bearer, Credential, SecretFile, Tls
from modelrollout.metrics.base import Arm, MetricsProvider, Watched
from modelrollout.metrics.client import Client
from modelrollout.metrics.oauth import OAuth2
from modelrollout.metrics.registry import MetricsProviderFactory
from modelrollout.metrics.source_config import OAuth2Config, SourceConfig, SourcesConfig, TlsConfig
from modelrollout.metrics.wire import Limits, Wire

__all__ = ["METRIC_HOSTS_HELP", "Sources"]

METRIC_HOSTS_HELP: Final = (
    "Host that rollouts may name as their own Prometheus (evaluation.prometheus.url), like prometheus.team-a or "
    "*.example.com; http://HOST allows it without TLS. Give it several times, or separated by commas.  [default: none]"
)
_OWN: Final = "own"
"""In the operator's own metrics all teams' sources are one, or their number would be without a bound."""
_OWN_LIMITS: Final = Limits(at_once=2, answer_mib=8)
_OWN_TIMEOUT_SECONDS: Final = 5.0
_OWN_PER_NAMESPACE: Final = 4
_UNUSED_SECONDS: Final = 600.0
_TOKEN_SECONDS: Final = 60.0
"""How long a token from a Secret is used without a look whether there is another."""


class Unusable:
    """Takes the place of a source that a rollout names and that does not exist for it."""

    def __init__(self, why: str) -> None:
        self._why = why

    async def measure(self, gates: list[Gate], plan: Plan, candidate: Arm, baseline: Arm) -> Measurement:
        """See :class:`MetricsProvider`."""
        return self._nothing(gates, min(plan.starts.values(), default=plan.end), plan.end)

    async def history(
        self, gates: list[Gate], start: datetime, end: datetime, step: timedelta, baseline: Arm
    ) -> Measurement:
        """See :class:`MetricsProvider`."""
        return self._nothing(gates, start, end)

    async def alarms(self, watched: Sequence[Watched], at: datetime, window: timedelta) -> frozenset[tuple[str, str]]:
        """See :class:`MetricsProvider`."""
        return frozenset()

    async def close(self) -> None:
        """See :class:`MetricsProvider`."""

    def _nothing(self, gates: list[Gate], start: datetime, end: datetime) -> Measurement:
        found = GateMeasurement(problem=Problem(ProblemKind.SOURCE_REFUSED, self._why))
        return Measurement(start=start, end=end, gates={one.name: found for one in gates if one.report is None})


class TeamToken(Credential):
    """A bearer token from a Secret of the rollout's namespace, looked at again when it is refused or old."""

    def __init__(self, kube: Kube, namespace: str, name: str, key: str) -> None:
        super().__init__()
        self._bearer = Bearer(self._read, "evaluation.prometheus.token")
        self._where = (kube, namespace, name, key)
        self._token = ""
        self._until = 0.0

    async def authorization(self) -> str:
        """See :class:`Credential`."""
        found = await self._bearer.authorization()
        self.keep_secret(self._token)
        return found

    async def _read(self) -> str:
        now = asyncio.get_running_loop().time()
        if not self._token or now >= self._until:
            try:
                self._token = await read_secret(*self._where)
            except SecretError as error:
                raise AccessError(f"evaluation.prometheus.token: {error}") from error
            self._until = now + _TOKEN_SECONDS
        return self._token

    def renewed(self, refused: str) -> bool:
        """See :class:`Credential`."""
        self._until = 0.0
        return True

    @property
    def remedy(self) -> str:
        """See :class:`Credential`."""
        return "look at evaluation.prometheus.token"


@dataclass(slots=True)
class _Own:
    """A team's source, and when it was last asked for (loop time)."""

    provider: MetricsProvider
    used_at: float


@dataclass(slots=True)
class Sources:
    """See the module. ``hosts``: those that rollouts may name themselves."""

    config: SourcesConfig
    kube: Kube
    make: MetricsProviderFactory
    hosts: tuple[str, ...] = ()
    _shared: dict[str, MetricsProvider] = field(default_factory=dict)
    _own: dict[tuple[str, OwnPrometheus], _Own] = field(default_factory=dict)
    _closing: set[asyncio.Task[None]] = field(default_factory=set)

    def __post_init__(self) -> None:
        for one in self.config.sources:
            client = Client(_wire(one), source=one.name)
            self._shared[one.name] = self.make(client, allow_promql=one.allow_promql)

    def of(self, rollout: Rollout) -> MetricsProvider:
        """The source of a rollout; one that says why there is none, if so."""
        said = rollout.spec.evaluation
        if said.prometheus is not None:
            return self._owned(rollout.namespace, said.prometheus)
        open_to_it = {one.name: one for one in self.config.sources if one.covers(rollout.namespace)}
        name = said.source or next((one.name for one in open_to_it.values() if one.default), None)
        if name is not None and name in open_to_it:
            return self._shared[name]
        return Unusable(_no_source(said.source, rollout.namespace, open_to_it))

    def _owned(self, namespace: str, said: OwnPrometheus) -> MetricsProvider:
        now = asyncio.get_running_loop().time()
        self._forget_unused(now)
        known = self._own.get((namespace, said))
        if known is not None:
            known.used_at = now
            return known.provider
        try:
            url = allowed(said.url, self.hosts, flag="--metric-hosts", what="rollouts' own metrics")
        except AddressError as error:
            return Unusable(f"evaluation.prometheus.url: {error}")
        if sum(one == namespace for one, _ in self._own) >= _OWN_PER_NAMESPACE:
            text = f"namespace {namespace} has {_OWN_PER_NAMESPACE} Prometheus of its own already"
            return Unusable(f"evaluation.prometheus.url: {text}; ask whoever runs the operator for a source by name")
        token = said.token
        credential = Credential() if token is None else TeamToken(self.kube, namespace, token.name, token.key)
        wire = Wire(url.rstrip("/"), _OWN_TIMEOUT_SECONDS, _OWN_LIMITS, credential=credential, guarded=True)
        provider = self.make(Client(wire, source=_OWN))
        self._own[namespace, said] = _Own(provider, now)
        return provider

    def _forget_unused(self, now: float) -> None:
        for key, one in list(self._own.items()):
            if now - one.used_at > _UNUSED_SECONDS:
                del self._own[key]
                task = asyncio.ensure_future(one.provider.close())
                self._closing.add(task)
                task.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """Close every connection."""
        own = [one.provider for one in self._own.values()]
        await asyncio.gather(*(one.close() for one in (*self._shared.values(), *own)), *self._closing)


def _no_source(name: str | None, namespace: str, there: Mapping[str, SourceConfig]) -> str:
    if there:
        remedy = f"write one of: {', '.join(sorted(there))}"
    else:
        remedy = "ask whoever runs the operator for one (namespaces in its file of sources)"
    if name is None:
        return f"evaluation.source: there is no default for namespace {namespace}; {remedy}"
    return f"evaluation.source: there is no source {name} for namespace {namespace}; {remedy}"


def _wire(one: SourceConfig) -> Wire:
    return Wire(
        url=one.url,
        timeout=parse_duration(one.timeout).total_seconds(),
        limits=Limits(one.limits.at_once, one.limits.answer_mib),
        headers=one.headers,
        credential=_credential(one),
        tls=_tls(one.tls),
    )


def _credential(one: SourceConfig) -> Credential:
    if one.bearer is not None:
        return Bearer(SecretFile("bearer.tokenFile", one.bearer.token_file).read, "bearer.tokenFile")
    if one.basic is not None:
        return Basic(one.basic.user, SecretFile("basic.passwordFile", one.basic.password_file).read)
    return _oauth2(one.oauth2) if one.oauth2 is not None else Credential()


def _oauth2(said: OAuth2Config) -> OAuth2:
    secret = SecretFile("oauth2.clientSecretFile", said.client_secret_file)
    scope = {"scope": " ".join(said.scopes)} if said.scopes else {}
    return OAuth2(said.token_url, said.client_id, secret.read, {**said.parameters, **scope}, _tls(said.tls))


def _tls(said: TlsConfig) -> Tls:
    return Tls(said.ca_file, said.cert_file, said.key_file, said.server_name)
