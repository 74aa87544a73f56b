"""Which Prometheus a rollout is read from, who may use it, and that nobody hears of another's."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest
import yaml
from aiohttp import web
from aiohttp.test_utils import TestServer
from click.testing import CliRunner

from modelrollout.api.gate import Gate
from modelrollout.api.objects import Rollout
from modelrollout.controller.__main__ import main
from modelrollout.engine.evidence import Plan
from modelrollout.engine.model import GateMeasurement, ProblemKind
from modelrollout.kube.client import Kube, KubeError, NotFound
from modelrollout.metrics import sources as sources_module
from modelrollout.metrics.base import Arm
from modelrollout.metrics.prometheus import Prometheus
from modelrollout.metrics.registry import METRICS_PROVIDERS
from modelrollout.metrics.source_config import SourcesConfig, load, single
from modelrollout.metrics.sources import Sources
from modelrollout.settings_file import ConfigError
from tests.support.world import ERRORS, spec

ROOT = Path(__file__).resolve().parents[3]
END = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
CANARY = "s3cr3t-canary-Xy7"
_FILE = """
sources:
- {name: platform, url: "https://prometheus.monitoring:9090/base/", default: true, namespaces: [recs, "ads-*"]}
- {name: fraud, url: "https://fraud-internal:9090", namespaces: [fraud], allowPromql: true}
- {name: everyone, url: "http://thanos:9090", headers: {X-Scope-OrgID: all}}
"""


class _Secrets:
    """Secrets that a team let the operator read."""

    def __init__(self, token: str = CANARY, error: KubeError | None = None) -> None:
        self.token, self.error, self.reads = token, error, 0

    async def get(self, path: str) -> dict[str, Any]:
        self.reads += 1
        if self.error is not None:
            raise self.error
        assert path.endswith("/namespaces/recs/secrets/prometheus")
        return {"data": {"token": base64.b64encode(f"{self.token}\n".encode()).decode()}}


def _sources(config: str = _FILE, secrets: _Secrets | None = None, hosts: tuple[str, ...] = ()) -> Sources:
    known = SourcesConfig.model_validate(yaml.safe_load(config))
    return Sources(known, cast(Kube, secrets or _Secrets()), METRICS_PROVIDERS["prometheus"], hosts)


def _rollout(namespace: str = "recs", **evaluation: Any) -> Rollout:
    return Rollout.parse(
        {
            "apiVersion": "modelrollout.io/v1alpha1",
            "kind": "ModelRollout",
            "metadata": {"name": "ranker", "namespace": namespace, "uid": "u", "resourceVersion": "1"}
            | {"generation": 1, "creationTimestamp": "2026-11-21T11:00:00Z"},
            "spec": spec(evaluation=evaluation),
        }
    )


def _arm(revision: str) -> Arm:
    return Arm(revision, "recs", f"ranker-{revision}", 80, {f"ranker-{revision}-x": END - timedelta(hours=1)})


async def _measured(sources: Sources, rollout: Rollout) -> GateMeasurement:
    plan = Plan({"errors": END - timedelta(seconds=15)}, END)
    provider = sources.of(rollout)
    gates = [Gate.model_validate(ERRORS)]
    await provider.history(gates, END - timedelta(hours=1), END, timedelta(minutes=1), _arm("b"))
    return (await provider.measure(gates, plan, _arm("a"), _arm("b"))).gates["errors"]


async def _refused(sources: Sources, rollout: Rollout) -> str:
    found = await _measured(sources, rollout)
    await sources.close()
    assert found.problem is not None
    assert found.problem.kind is ProblemKind.SOURCE_REFUSED
    return found.problem.message


async def test_a_rollout_names_its_source_or_has_the_default_one() -> None:
    sources = _sources()
    usual, named = sources.of(_rollout()), sources.of(_rollout(source="everyone"))
    assert isinstance(usual, Prometheus) and isinstance(named, Prometheus)
    assert usual._client.url == "https://prometheus.monitoring:9090/base"
    assert named._client.url == "http://thanos:9090"
    assert sources.of(_rollout("ads-eu")) is usual
    assert sources.of(_rollout(source="platform")) is usual, "one client for all who use it"
    await sources.close()


@pytest.mark.parametrize(
    ("namespace", "evaluation", "said"),
    [
        ("recs", {"source": "prod"}, "there is no source prod for namespace recs; write one of: everyone, platform"),
        ("recs", {"source": "fraud"}, "there is no source fraud for namespace recs; write one of: everyone, platform"),
        ("other", {}, "there is no default for namespace other; write one of: everyone"),
        (
            "fraud",
            {"source": "platform"},
            "there is no source platform for namespace fraud; write one of: every",
        ),
    ],
)
async def test_detail_30_a_source_that_is_not_for_a_namespace_does_not_exist_there(
    namespace: str, evaluation: dict[str, Any], said: str
) -> None:
    text = await _refused(_sources(), _rollout(namespace, **evaluation))
    assert text.startswith(f"evaluation.source: {said}")
    assert "internal" not in text and "https://" not in text
    if namespace != "fraud":
        assert "fraud" not in text.replace("source fraud for", ""), "what another namespace has is nobody's business"


async def test_who_has_no_source_at_all_is_told_whom_to_ask() -> None:
    only = 'sources: [{name: fraud, url: "https://f", namespaces: [fraud]}]'
    assert "ask whoever runs the operator" in await _refused(_sources(only), _rollout())


OWN = {"url": "https://prometheus.team.example:9090"}


@pytest.mark.parametrize(
    ("url", "hosts", "said"),
    [
        (OWN["url"], (), "host prometheus.team.example is not among those that rollouts' own metrics may call (none)"),
        (OWN["url"], ("*.other.example",), "--metric-hosts prometheus.team.example"),
        ("http://prometheus.team.example", ("*.team.example",), "begins with http://"),
        ("http://169.254.169.254", ("http://*",), "a metadata service, which nobody may call"),
        ("http://127.0.0.1:8080", ("http://*",), "the operator's own machine"),
        ("http://[::ffff:169.254.169.254]", ("http://*",), "nobody may call"),
    ],
)
async def test_detail_30_an_address_of_a_teams_own_is_called_only_if_its_host_is_allowed(
    url: str, hosts: tuple[str, ...], said: str
) -> None:
    text = await _refused(_sources(hosts=hosts), _rollout(prometheus={"url": url}))
    assert text.startswith("evaluation.prometheus.url: ")
    assert said in text


@pytest.fixture
async def team() -> AsyncIterator[tuple[list[str], str]]:
    """A team's own Prometheus, with the headers that it heard."""
    heard: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        heard.append(request.headers.get("Authorization", ""))
        if heard[-1] != f"Bearer {CANARY}":
            return web.Response(status=401, text=f"who is {heard[-1]}?")
        if request.path.endswith("/values"):
            return web.json_response({"status": "success", "data": []})
        kind = "matrix" if request.path.endswith("range") else "vector"
        return web.json_response({"status": "success", "data": {"resultType": kind, "result": []}})

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", answer)
    async with TestServer(application) as server:
        yield heard, str(server.make_url("")).rstrip("/")


def _own(url: str) -> dict[str, Any]:
    return {"url": url, "token": {"name": "prometheus", "key": "token"}}


async def test_a_teams_own_prometheus_is_asked_with_the_token_from_its_secret(team: tuple[list[str], str]) -> None:
    heard, url = team
    secrets = _Secrets()
    sources = _sources(secrets=secrets, hosts=("http://127.0.0.1",))
    rollout = _rollout(prometheus=_own(url))
    found = await _measured(sources, rollout)
    assert found.problem is not None
    assert "Prometheus knows no metric requests_total" in found.problem.message
    assert set(heard) == {f"Bearer {CANARY}"}
    assert secrets.reads == 1, "not once for each question"
    assert sources.of(rollout) is sources.of(rollout)
    await sources.close()


async def test_a_token_that_is_refused_is_read_again_once_and_never_told(team: tuple[list[str], str]) -> None:
    heard, url = team
    secrets = _Secrets("old-canary-token")
    sources = _sources(secrets=secrets, hosts=("http://127.0.0.1",))
    said = (await _measured(sources, _rollout(prometheus=_own(url)))).problem
    assert said is not None
    assert "refuses the operator (HTTP 401): look at evaluation.prometheus.token" in said.message
    assert "canary" not in said.message
    assert 1 < secrets.reads <= len(heard)
    await sources.close()


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (NotFound(404, "x"), "there is no Secret prometheus in namespace recs"),
        (KubeError(403, "x"), "kubectl create role modelrollout-prometheus -n recs --verb=get"),
        (KubeError(500, "x"), "Secret prometheus cannot be read"),
    ],
)
async def test_a_secret_that_cannot_be_read_is_named_with_what_to_type(error: KubeError, said: str) -> None:
    sources = _sources(secrets=_Secrets(error=error), hosts=("http://127.0.0.1",))
    found = await _measured(sources, _rollout(prometheus=_own("http://127.0.0.1:9")))
    assert found.problem is not None
    assert "cannot be asked: evaluation.prometheus.token: " in found.problem.message
    assert said in found.problem.message
    await sources.close()


async def test_a_namespace_has_few_prometheus_of_its_own_and_unused_ones_make_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sources = _sources(hosts=("http://127.0.0.1",))
    urls = [f"http://127.0.0.1:{port}" for port in range(9001, 9007)]
    for url in urls[:4]:
        assert isinstance(sources.of(_rollout(prometheus={"url": url})), Prometheus)
    assert isinstance(sources.of(_rollout("ads", prometheus={"url": urls[0]})), Prometheus), "others have theirs"
    text = (await _measured(sources, _rollout(prometheus={"url": urls[4]}))).problem
    assert text is not None and "has 4 Prometheus of its own already" in text.message
    monkeypatch.setattr(sources_module, "_UNUSED_SECONDS", -1.0)
    assert isinstance(sources.of(_rollout(prometheus={"url": urls[4]})), Prometheus)
    await sources.close()


_WRONG = {
    "nothing": ("{}", "sources: Field required"),
    "no address": ("[{name: a, url: prometheus}]", "sources[0].url: is no address: write it like https://"),
    "a user": ("[{name: a, url: 'https://me:pw@x'}]", "holds no user and password: use basic"),
    "a query": ("[{name: a, url: 'https://x?token=1'}]", "leave out what begins with ?"),
    "two auths": (
        "[{name: a, url: 'https://x', bearer: {tokenFile: t}, basic: {user: u, passwordFile: p}}]",
        "give one",
    ),
    "in clear": ("[{name: a, url: 'http://x', bearer: {tokenFile: t}}]", "use https://, or say plainHttp: true"),
    "unverified": ("[{name: a, url: 'https://x', tls: {insecureSkipVerify: true}}]", "caFile"),
    "half a pair": ("[{name: a, url: 'https://x', tls: {certFile: c}}]", "give certFile and keyFile together"),
    "a header": ("[{name: a, url: 'https://x', headers: {Authorization: x}}]", "is not yours to set"),
    "a broken header": ("[{name: a, url: 'https://x', headers: {X: \"a\\nb\"}}]", "printable ASCII"),
    "a token url": (
        "[{name: a, url: 'https://x', oauth2: {tokenUrl: 'http://t', clientId: c, clientSecretFile: s}}]",
        "sources[0].oauth2.tokenUrl",
    ),
    "a long time": ("[{name: a, url: 'https://x', timeout: 5m}]", "write between 1s and 60s"),
    "no time": ("[{name: a, url: 'https://x', timeout: soon}]", "sources[0].timeout"),
    "twice": ("[{name: a, url: 'https://x'}, {name: a, url: 'https://y'}]", "two sources are called a"),
    "two defaults": (
        "[{name: a, url: 'https://x', default: true}, {name: b, url: 'https://y', default: true}]",
        "a and b say default: true",
    ),
    "a typo": ("[{name: a, url: 'https://x', namespace: [a]}]", "sources[0].namespace: Extra inputs"),
}


@pytest.mark.parametrize("kind", list(_WRONG))
def test_a_wrong_file_is_refused_with_field_and_remedy_and_never_quoted(tmp_path: Path, kind: str) -> None:
    text, said = _WRONG[kind]
    file = tmp_path / "sources.yaml"
    file.write_text(text if kind == "nothing" else f"sources: {text}")
    with pytest.raises(ConfigError) as caught:
        load(file)
    assert said in str(caught.value)
    assert "me:pw" not in str(caught.value) and "token=1" not in str(caught.value)
    done = CliRunner().invoke(main, ["--sources", str(file)])
    assert done.exit_code == 2 and "Traceback" not in done.output


def test_the_sample_of_the_operators_file_is_right() -> None:
    folder = ROOT / "manifests" / "samples" / "sources"
    manifest = yaml.safe_load((folder / "sources.yaml").read_text(encoding="utf-8"))
    config = SourcesConfig.model_validate(yaml.safe_load(manifest["data"]["sources.yaml"]))
    assert [one.name for one in config.sources if one.default] == ["platform"]
    assert [one.name for one in config.sources if one.basic or one.bearer or one.oauth2] == [
        "payments",
        "mimir-ads",
        "cloud",
    ]


def test_the_file_in_the_docs_is_right() -> None:
    text = (ROOT / "docs" / "sources.md").read_text(encoding="utf-8")
    shown = next(block for block in text.split("```yaml\n")[1:] if block.startswith("sources:"))
    assert len(SourcesConfig.model_validate(yaml.safe_load(shown.split("```")[0])).sources) == 2


def test_one_address_is_the_source_default_beside_those_of_a_file() -> None:
    file = SourcesConfig.model_validate(yaml.safe_load(_FILE.replace("default: true, ", "")))
    both = single("http://prometheus:9090", allow_promql=True, beside=file.sources)
    assert [one.name for one in both.sources] == ["default", "platform", "fraud", "everyone"]
    assert both.sources[0].default and both.sources[0].allow_promql
    with pytest.raises(ConfigError, match="--prometheus-url: default and platform say default: true"):
        single("http://p", allow_promql=False, beside=SourcesConfig.model_validate(yaml.safe_load(_FILE)).sources)
    with pytest.raises(ConfigError, match="use basic"):
        single("http://me:secret@p", allow_promql=False)


def test_without_any_source_the_operator_says_which_flags_there_are() -> None:
    done = CliRunner().invoke(main, [])
    assert done.exit_code == 2
    assert "--prometheus-url, or --sources" in done.output
