"""What people write: the operator's file, addresses of their own, links; and what they hear when it is wrong."""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, cast

import pytest
import yaml
from click.testing import CliRunner

from modelrollout.api.enums import Reason, Urgency
from modelrollout.controller.__main__ import main
from modelrollout.kube.client import Kube, KubeError, NotFound
from modelrollout.notify.addresses import checked
from modelrollout.notify.base import DeliveryError
from modelrollout.notify.config import Config, ConfigError, load
from modelrollout.notify.directory import Directory
from modelrollout.notify.github import GitHub
from modelrollout.notify.http import Http
from modelrollout.notify.jira import Jira
from modelrollout.notify.links import LinkTemplate, links
from tests.unit.notify.messages import AT, message
from tests.unit.notify.server import Server
from tests.unit.notify.test_outbox import notice, rollout

ROOT = Path(__file__).resolve().parents[3]
SECRET = "https://hooks.slack.example/services/verysecretpath"


class Secrets:
    """An API server that has Secrets, or does not let them be read."""

    def __init__(self, error: KubeError | None = None, **data: str) -> None:
        self.error = error
        self.data = {name: base64.b64encode(value.encode()).decode() for name, value in data.items()}

    async def get(self, path: str, **query: str) -> dict[str, Any]:
        if self.error is not None:
            raise self.error
        return {"data": self.data}


def directory(config: str = "{}", kube: Secrets | None = None, hosts: tuple[str, ...] = ()) -> Directory:
    return Directory(
        Config.model_validate(yaml.safe_load(config)), cast(Kube, kube or Secrets()), Http(), Http(guarded=True), hosts
    )


def _file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "notifications.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("receivers: [{name: a, about: [page]}]", "exactly one of webhook, slack"),
        ("receivers: [{name: a, slack: {}}]", "give either url or urlFile"),
        ("receivers: [{name: a, slack: {url: 'https://x', urlFile: /x}}]", "give either url or urlFile"),
        ("receivers: [{name: a, about: [pages], slack: {urlFile: /x}}]", "nothing is called 'pages'; there are page"),
        ("receivers: [{name: a, slak: {urlFile: /x}}]", "receivers[0].slak"),
        ("receivers: [{name: a, github: {repository: acme, tokenFile: /t}}]", "receivers[0].github.repository"),
        ("receivers: [{name: a, github: {repository: a/b, token: ghp_0123}}]", "receivers[0].github.tokenFile"),
        ("receivers: [{name: a, slack: {urlFile: /x}}, {name: a, slack: {urlFile: /y}}]", "two receivers are called a"),
        ("receivers: {", "is not YAML"),
        ("receivers: [{name: a, token: ghp_0123: x}]", "is not YAML (line 1, column"),
        ("- a", "the file"),
    ],
)
def test_a_wrong_file_is_refused_with_field_and_remedy(tmp_path: Path, text: str, says: str) -> None:
    path = _file(tmp_path, text)
    with pytest.raises(ConfigError) as refused:
        load(path)
    assert says in str(refused.value)
    assert "ghp_0123" not in str(refused.value), "what somebody wrote in the wrong place is not quoted"
    said = CliRunner().invoke(main, ["--prometheus-url", "http://localhost", "--notifications", str(path)])
    assert said.exit_code == 2
    assert "Traceback" not in said.output


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="no text in UTF-8"):
        load(tmp_path / "file")


def test_an_empty_file_tells_nobody(tmp_path: Path) -> None:
    assert load(_file(tmp_path, "")).receivers == ()


def test_the_sample_of_the_operators_file_is_right() -> None:
    folder = ROOT / "manifests" / "samples" / "notifications"
    manifest = yaml.safe_load((folder / "receivers.yaml").read_text(encoding="utf-8"))
    config = Config.model_validate(yaml.safe_load(manifest["data"]["notifications.yaml"]))
    kinds = {one.kind for one in config.receivers}
    assert kinds == {"webhook", "slack", "alertmanager", "cloudEvents", "github", "jira"}


async def test_detail_42_who_is_told_follows_urgency_reason_cause_and_namespace() -> None:
    config = """
    receivers:
    - {name: oncall, about: [page], alertmanager: {url: "http://am"}}
    - {name: tickets, about: [ticket], github: {repository: a/b, tokenFile: /t}}
    - {name: breaches, about: [GateBreached], namespaces: ["rec*"], webhook: {url: "http://x"}}
    - {name: others, about: [ticket], namespaces: [ads], webhook: {url: "http://x"}}
    - {name: asked, webhook: {url: "http://x"}}
    """
    entries = [{"name": "me", "about": ["RolledBack"], "receiver": "asked"}, {"name": "t", "receiver": "tickets"}]
    asking = rollout(notifications=entries)

    def labels(**changes: Any) -> list[str]:
        return [one.label for one in directory(config).addressees(asking, notice(**changes))]

    assert labels() == ["tickets", "breaches", "asked"], "each once"
    assert labels(urgency=Urgency.PAGE, reason=Reason.SHARED_DEGRADATION, cause=None) == ["oncall", "tickets"]
    assert labels(over_at=AT) == ["breaches", "asked"], "a tracker is not told of the end"


async def test_a_receiver_of_another_namespace_is_none() -> None:
    config = 'receivers: [{name: theirs, namespaces: [ads], webhook: {url: "http://x"}}]'
    asking = rollout(notifications=[{"name": "me", "receiver": "theirs"}])
    (one,) = directory(config).addressees(asking, notice())
    with pytest.raises(DeliveryError, match="there is no receiver theirs here; there are: none"):
        await one.receiver.send(message())


def _own(kube: Secrets, hosts: tuple[str, ...] = ()) -> Callable[[], Awaitable[str]]:
    asking = rollout(notifications=[{"name": "me", "slack": {"secretRef": {"name": "chat", "key": "url"}}}])
    (one,) = directory(kube=kube, hosts=hosts).addressees(asking, notice())

    async def send() -> str:
        return await one.receiver.send(message())

    return send


@pytest.mark.parametrize(
    ("kube", "hosts", "says"),
    [
        (Secrets(KubeError(403, "secrets is forbidden")), (), "--verb=get --resource=secrets --resource-name=chat"),
        (Secrets(NotFound(404, "x")), (), "there is no Secret chat in namespace recs"),
        (Secrets(other="x"), (), "no text under the key url"),
        (Secrets(url="not an address: verysecretpath"), ("*",), "no address"),
        (Secrets(url=SECRET), (), "--notify-hosts hooks.slack.example"),
        (Secrets(url=SECRET), ("*.example.com",), "hooks.slack.example is not among"),
        (Secrets(url="http://hooks.slack.example/verysecretpath"), ("hooks.slack.example",), "use https://"),
    ],
)
async def test_a_teams_own_address_that_cannot_be_used_says_what_to_do(
    kube: Secrets, hosts: tuple[str, ...], says: str
) -> None:
    with pytest.raises(DeliveryError) as refused:
        await _own(kube, hosts)()
    assert says in str(refused.value)
    assert refused.value.settings
    assert "verysecretpath" not in str(refused.value)


async def test_a_teams_own_address_is_called_when_its_host_is_allowed() -> None:
    async with Server() as server:
        await _own(Secrets(url=f"{server.url}/x"), ("http://127.0.0.1",))()
        assert len(server.calls) == 1


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/hooks.slack.com",
        "https://hooks.slack.com.evil.example/",
        "https://hooks.slack.com@evil.example/",
        "https://evil.example#hooks.slack.com",
        "https://evil.example\\@hooks.slack.com/",
        "//hooks.slack.com/x",
        "file:///etc/passwd",
        "https://hooks.slack.com /x",
        "https://[::1",
        "https://hooks.slack.com./x",
        "https://hooks.slack.com%2eevil.example/x",
    ],
)
def test_an_address_that_only_looks_allowed_is_refused(url: str) -> None:
    with pytest.raises(DeliveryError):
        assert checked(url, ("hooks.slack.com",)) == ""


@pytest.mark.parametrize("url", ["https://[fe80::1%25a.example.com]/", "https://evil.org%2fa.example.com/x"])
def test_no_escape_makes_another_host_look_like_one_of_a_zone(url: str) -> None:
    with pytest.raises(DeliveryError):
        checked(url, ("*.example.com",))


def test_addresses_that_are_allowed() -> None:
    for url in ("https://hooks.slack.com/a", "https://HOOKS.slack.com:8443/a"):
        assert checked(url, ("hooks.slack.com",)) == url
    assert checked("https://a.b.example.com", ("*.example.com",))
    assert checked("http://am.monitoring:9093", ("http://am.monitoring",))


async def test_secrets_in_files_are_read_anew_and_their_absence_is_told(tmp_path: Path) -> None:
    file = tmp_path / "url"
    config = f"receivers: [{{name: chat, about: [ticket], slack: {{urlFile: {file}}}}}]"
    (one,) = directory(config).addressees(rollout(), notice())
    with pytest.raises(DeliveryError, match="mount the Secret there"):
        await one.receiver.send(message())
    file.write_text("  \n")
    with pytest.raises(DeliveryError, match="is empty"):
        await one.receiver.send(message())
    async with Server() as server:
        file.write_text(f"{server.url}/x\n")
        await one.receiver.send(message())
        assert server.calls[0].path == "/x"


def test_trackers_of_the_file_are_built() -> None:
    config = """
    receivers:
    - {name: gh, about: [ticket], github: {repository: a/b, tokenFile: /t, labels: [models]}}
    - {name: jira, about: [ticket], jira: {url: "https://j", project: OPS, tokenFile: /t, user: me, cloud: true}}
    """
    found = [one.receiver for one in directory(config).addressees(rollout(), notice())]
    assert [type(one) for one in found] == [GitHub, Jira]


def test_links_lead_where_the_template_says_whatever_a_version_is_called() -> None:
    template = LinkTemplate.parse("Grafana=https://grafana.example/d/x?ns={namespace}&v={version}&from={from}&to={to}")
    words = {"namespace": "recs", "name": "ranker", "revision": "0", "version": "4 2&x=/../@evil#{name}"}
    (link,) = links((template,), words, AT)
    assert link.url.startswith("https://grafana.example/d/x?ns=recs&v=4%202%26x%3D%2F..%2F%40evil%23%7Bname%7D&from=17")


@pytest.mark.parametrize("text", ["Grafana", "Grafana=ftp://x", "=https://x", "G=https://x/{nam}"])
def test_a_wrong_link_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"there is|write it like"):
        LinkTemplate.parse(text)
    said = CliRunner().invoke(main, ["--prometheus-url", "http://localhost", "--link-template", text])
    assert said.exit_code == 2
