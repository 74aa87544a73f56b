"""Details 25 and 42: every way of telling people, over real HTTP, with bodies that the other side would take."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_structured_event
from cloudevents.core.formats.json import JSONFormat

from modelrollout.notify.alertmanager import Alertmanager, alert
from modelrollout.notify.base import DeliveryError, Receiver
from modelrollout.notify.cloudevents import CloudEvents
from modelrollout.notify.github import GitHub, code
from modelrollout.notify.http import Http
from modelrollout.notify.jira import Jira, escaped
from modelrollout.notify.payload import SCHEMA
from modelrollout.notify.slack import Slack
from modelrollout.notify.tickets import label_of
from modelrollout.notify.webhook import SIGNATURE, Webhook
from tests.unit.notify.messages import AT, NASTY, message, read
from tests.unit.notify.server import Call, Server

SECRET = "T00000000-B00000000-s3cr3t"


@pytest.fixture
async def http() -> AsyncIterator[Http]:
    found = Http(timeout=0.5)
    yield found
    await found.close()


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with Server() as running:
        yield running


async def test_detail_25_a_webhook_brings_everything_and_a_key(http: Http, server: Server) -> None:
    told = message()
    receiver = Webhook(http, read(f"{server.url}/hook"), read("signing"))
    for _ in range(2):
        await receiver.send(told)
    first, again = server.calls
    assert first.body == again.body
    assert first.headers["Idempotency-Key"] == again.headers["Idempotency-Key"] == told.id
    expected = hmac.new(b"signing", first.body, hashlib.sha256).hexdigest()
    assert first.headers[SIGNATURE] == f"sha256={expected}"
    body = first.json
    assert body["schema"] == SCHEMA
    assert (body["urgency"], body["reason"], body["cause"]) == ("ticket", "RolledBack", "GateBreached")
    assert body["incident"]["evidence"][0]["samples"] == "1234"
    assert body["at"] == "2026-11-21T03:14:15.926Z"
    assert body["overAt"] is None


async def test_detail_25_the_end_has_a_key_of_its_own(http: Http, server: Server) -> None:
    await Webhook(http, read(server.url)).send(message(over=True))
    assert server.calls[0].headers["Idempotency-Key"].endswith("/over")
    assert server.calls[0].json["over"] is True
    assert SIGNATURE not in server.calls[0].headers


@pytest.mark.parametrize("over", [False, True])
async def test_detail_25_a_cloud_event_is_one(http: Http, server: Server, over: bool) -> None:
    await CloudEvents(http, read(server.url)).send(message(over=over, version=NASTY[:128]))
    call = server.calls[0]
    parsed = from_structured_event(HTTPMessage(headers=call.headers, body=call.body), JSONFormat())
    assert parsed.get_specversion() == "1.0"
    assert parsed.get_type() == "io.modelrollout.rolledback" + (".over" if over else "")
    assert parsed.get_source() == "/apis/modelrollout.io/v1alpha1/namespaces/recs/modelrollouts/ranker"
    assert parsed.get_id() == message(over=over).id
    time = parsed.get_time()
    assert time == (AT.replace(hour=5) if over else AT)
    data = parsed.get_data()
    assert isinstance(data, dict)
    assert data["version"] == NASTY[:128]


async def test_detail_25_slack_takes_its_blocks(http: Http, server: Server) -> None:
    await Slack(http, read(f"{server.url}/services/{SECRET}")).send(message(version=NASTY[:128], text=NASTY * 4))
    body = server.calls[0].json
    assert body["text"]
    assert len(body["blocks"]) <= 50
    for block in body["blocks"]:
        kinds = {"header": "plain_text", "section": "mrkdwn"}
        if block["type"] in kinds:
            assert block["text"]["type"] == kinds[block["type"]]
            assert 0 < len(block["text"]["text"]) <= (150 if block["type"] == "header" else 3000)
        else:
            assert block["type"] == "context"
            assert 1 <= len(block["elements"]) <= 10
    marked = "\n".join(one["text"]["text"] for one in body["blocks"] if one["type"] == "section")
    assert "<!here>" not in marked, "nobody is called by what a user wrote"
    assert "<script>" not in marked
    assert "<https://grafana.example/d/x?var-ns=recs|Grafana>" in marked


async def test_slack_that_does_not_say_ok_is_no_slack(http: Http, server: Server) -> None:
    server.answer = lambda call: (200, "<html>log in</html>")
    with pytest.raises(DeliveryError, match="incoming webhook"):
        await Slack(http, read(server.url)).send(message())


async def test_detail_25_an_alert_fires_and_is_resolved_under_the_same_labels(http: Http, server: Server) -> None:
    receiver = Alertmanager(http, read(f"{server.url}/"))
    await receiver.send(message())
    await receiver.send(message(over=True))
    firing, resolved = (call.json[0] for call in server.calls)
    assert server.calls[0].path == "/api/v2/alerts"
    assert firing["labels"] == resolved["labels"]
    assert firing["labels"]["severity"] == "warning"
    assert firing["startsAt"] == resolved["startsAt"] == "2026-11-21T03:14:15.926Z"
    assert resolved["endsAt"] == "2026-11-21T05:14:15.926Z"
    assert alert(message(), AT)["endsAt"] > firing["startsAt"]
    assert receiver.repeats_every is not None
    assert all(re.fullmatch("[a-zA-Z_][a-zA-Z0-9_]*", name) for name in firing["annotations"])


class _GitHub:
    """As much of GitHub's issues as is used."""

    def __init__(self, *, labels: bool = True) -> None:
        self.issues: list[dict[str, Any]] = []
        self.labels = labels

    def answer(self, call: Call) -> tuple[int, Any]:
        assert call.headers["Authorization"] == f"Bearer {SECRET}"
        if call.path != "/repos/acme/models/issues":
            return 404, {"message": "Not Found"}
        if call.method == "GET":
            assert call.query["state"] == "all", "a closed ticket is a ticket"
            wanted = set(call.query["labels"].split(","))
            return 200, [one for one in self.issues if wanted <= {label["name"] for label in one["labels"]}]
        made = call.json
        assert set(made) == {"title", "body", "labels"}
        assert len(made["title"]) <= 256
        assert len(made["body"]) <= 65536
        assert all(len(label) <= 50 for label in made["labels"])
        labels = [{"name": label} for label in made["labels"]] if self.labels else []
        issue = {"number": 7, "html_url": f"https://github.example/{len(self.issues)}", **made, "labels": labels}
        self.issues.append(issue)
        return 201, issue


class _Jira:
    """As much of Jira's issues as is used."""

    def __init__(self, search: str) -> None:
        self.issues: list[dict[str, Any]] = []
        self.search = search

    def answer(self, call: Call) -> tuple[int, Any]:
        if call.path == self.search and call.method == "GET":
            found = re.fullmatch(r'project = "OPS" AND labels = "([\w-]+)"', call.query["jql"])
            assert found is not None
            issues = [one for one in self.issues if found.group(1) in one["labels"]]
            return 200, {"issues": [{"id": "1", "key": one["key"]} for one in issues]}
        if call.path == "/rest/api/2/issue" and call.method == "POST":
            fields = call.json["fields"]
            assert fields["project"] == {"key": "OPS"}
            assert fields["issuetype"] == {"name": "Bug"}
            assert len(fields["summary"]) <= 255
            assert "\n" not in fields["summary"]
            assert not [label for label in fields["labels"] if " " in label]
            self.issues.append(fields | {"key": f"OPS-{len(self.issues) + 1}"})
            return 201, {"id": "1", "key": self.issues[-1]["key"]}
        return 410, {"errorMessages": ["gone"]}


async def test_detail_25_one_ticket_on_github_however_often_it_is_tried(http: Http, server: Server) -> None:
    tracker = _GitHub()
    server.answer = tracker.answer
    receiver = GitHub(http, server.url, "acme/models", read(SECRET), ("models",))
    told = message(version=NASTY[:128], text=NASTY)
    assert await receiver.send(told) == await receiver.send(told) == "https://github.example/0"
    await GitHub(http, server.url, "acme/models", read(SECRET)).send(told)
    assert len(tracker.issues) == 1
    body = tracker.issues[0]["body"]
    assert label_of(told) in body
    assert SECRET not in body
    outside = re.sub(r"(`+) .*? \1(?!`)", "", body)
    for danger in ("@kim", "<script>", "#7", "[~kim]", "*b*"):
        assert danger not in outside, f"{danger} is not within code"
    assert "$version" in body, "what a user wrote is no template"
    (row,) = [line for line in body.splitlines() if line.startswith("| ` errors `")]
    assert len(re.findall(r"(?<!\\)\|", row)) == 7


@pytest.mark.parametrize("cloud", [False, True])
async def test_detail_25_one_ticket_in_jira_however_often_it_is_tried(http: Http, server: Server, cloud: bool) -> None:
    tracker = _Jira("/rest/api/2/search/jql" if cloud else "/rest/api/2/search")
    server.answer = tracker.answer
    user = "ops@example.com" if cloud else ""
    receiver = Jira(http, server.url, "OPS", read(SECRET), user=user, issue_type="Bug", cloud=cloud)
    told = message(version=NASTY[:128], text=NASTY)
    assert await receiver.send(told) == await receiver.send(told) == f"{server.url}/browse/OPS-1"
    assert len(tracker.issues) == 1
    assert server.calls[0].headers["Authorization"].startswith("Basic " if cloud else "Bearer ")
    text = tracker.issues[0]["description"]
    assert text.count("{noformat}") == 2, "only the template's own"
    assert "[~kim]" not in text
    assert not re.search(r"^h1\. x", text, re.M)


@pytest.mark.parametrize("page", ["<html>log in</html>", '{"message": "moved"}', "null", '[{"html_url": "x"'])
async def test_detail_25_what_is_no_list_of_issues_makes_no_ticket(http: Http, server: Server, page: str) -> None:
    """A proxy's login page, another API, an answer that was cut short: none of them says that there is no ticket."""
    server.answer = lambda call: (200, page)
    for tracker in (GitHub(http, server.url, "a/b", read(SECRET)), Jira(http, server.url, "OPS", read(SECRET))):
        with pytest.raises(DeliveryError, match="the answer is no"):
            await tracker.send(message())
    assert {call.method for call in server.calls} == {"GET"}


async def test_a_long_answer_is_read_to_its_end(http: Http, server: Server) -> None:
    issue = {"html_url": "https://github.example/7", "body": "x" * 300_000}
    server.answer = lambda call: (200, [issue])
    assert await GitHub(http, server.url, "a/b", read(SECRET)).send(message()) == "https://github.example/7"


async def test_tickets_are_not_told_of_the_end() -> None:
    assert not GitHub.hears_the_end
    assert not Jira.hears_the_end


@pytest.mark.parametrize("text", ["", "`", "``` a", "a ` b `` c", "|", "x" * 10])
def test_code_is_closed_by_its_own_fence_only(text: str) -> None:
    shown = code(text)
    if text:
        fence = shown.split(" ", 1)[0]
        assert shown.endswith(f" {fence}")
        assert fence not in re.findall("`+", shown[len(fence) : -len(fence)])


def test_nothing_begins_markup_in_jira() -> None:
    assert escaped("{code} [x|y] *b*") == r"\{code\} \[x\|y\] \*b\*"
    assert escaped("h1. big bq. q") == r"h1\. big bq\. q"


def _receivers(http: Http, url: str) -> list[Receiver]:
    return [
        Webhook(http, read(url), read(SECRET)),
        Slack(http, read(url)),
        CloudEvents(http, read(url)),
        Alertmanager(http, read(url)),
        GitHub(http, url, "acme/models", read(SECRET)),
        Jira(http, url, "OPS", read(SECRET)),
    ]


@pytest.mark.parametrize("number", range(6))
async def test_an_error_has_a_remedy_and_no_secret(http: Http, server: Server, number: int) -> None:
    """Whatever the other side quotes."""
    path = f"/services/{SECRET}"
    receiver = _receivers(http, server.url + path)[number]
    server.answer = lambda call: (403, f"no: {call.path} {call.headers.get('Authorization', '')} {path}")
    with pytest.raises(DeliveryError) as refused:
        await receiver.send(message())
    assert "403" in str(refused.value)
    assert "check the token" in str(refused.value)
    assert SECRET not in str(refused.value)
    assert refused.value.refused


async def test_a_redirect_is_not_followed(http: Http, server: Server) -> None:
    async with Server() as elsewhere:
        server.answer, server.headers = lambda call: (307, ""), {"Location": elsewhere.url}
        with pytest.raises(DeliveryError, match="not followed"):
            await Webhook(http, read(server.url)).send(message())
        assert not elsewhere.calls


async def test_who_hangs_is_waited_for_briefly(http: Http, server: Server) -> None:
    server.hangs = True
    with pytest.raises(DeliveryError, match="in time") as late:
        await Webhook(http, read(f"{server.url}/{SECRET}")).send(message())
    assert late.value.retry_after == 30.0, "it may have been taken: a ticket is asked for again later"
    assert SECRET not in str(late.value)


async def test_who_is_not_there_is_named_without_the_address(http: Http) -> None:
    with pytest.raises(DeliveryError, match=r"127\.0\.0\.1 cannot be reached") as gone:
        await Webhook(http, read(f"http://127.0.0.1:1/{SECRET}")).send(message())
    assert not gone.value.refused
    assert SECRET not in str(gone.value)


async def test_an_address_that_is_none_is_told_without_it(http: Http) -> None:
    for url in ("http://[verysecret", "https://verysecret:port/"):
        with pytest.raises(DeliveryError) as refused:
            await http.call("POST", url)
        assert "address is not valid" in str(refused.value)


async def test_a_busy_receiver_says_when(http: Http, server: Server) -> None:
    server.answer, server.headers = lambda call: (429, "slow down"), {"Retry-After": "17"}
    with pytest.raises(DeliveryError) as busy:
        await Webhook(http, read(server.url)).send(message())
    assert busy.value.retry_after == 17.0
    assert not busy.value.refused
