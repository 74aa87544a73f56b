"""Who asks, whom it believes, and that nothing secret is ever said."""

from __future__ import annotations

import asyncio
import base64
import logging
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from modelrollout.metrics.access import Basic, Bearer, Credential, SecretFile, Tls
from modelrollout.metrics.client import Client, RefusedQueryError, SourceDownError
from modelrollout.metrics.oauth import OAuth2
from modelrollout.metrics.wire import Wire
from tests.support import certificates

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
CANARY = "s3cr3t-canary-Xy7"
Answering = Callable[[web.Request], Awaitable[web.StreamResponse]]


def _nothing() -> web.Response:
    return web.json_response({"status": "success", "data": {"resultType": "vector", "result": []}})


class _Guarded:
    """A source that lets in who brings the right header, and a token server beside it."""

    def __init__(self) -> None:
        self.wanted = ""
        self.heard: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.tokens: list[dict[str, str]] = []
        self.expires_in: object = 3600
        self.token_answer: Callable[[web.Request], web.Response] | None = None

    async def answer(self, request: web.Request) -> web.Response:
        self.heard.append(request.headers.get("Authorization", ""))
        self.headers.append(dict(request.headers))
        if self.heard[-1] != self.wanted:
            return web.Response(status=401, text=f"you said {self.heard[-1]}")
        if request.path.endswith("/values"):
            return web.json_response({"status": "success", "data": ["up"]})
        return _nothing()

    async def token(self, request: web.Request) -> web.Response:
        form = {name: str(value) for name, value in (await request.post()).items()}
        self.tokens.append(form | {"Authorization": request.headers.get("Authorization", "")})
        if self.token_answer is not None:
            return self.token_answer(request)
        token = f"token-{len(self.tokens)}-{CANARY}"
        self.wanted = f"Bearer {token}"
        return web.json_response({"access_token": token, "token_type": "Bearer", "expires_in": self.expires_in})


@pytest.fixture
async def source() -> AsyncIterator[tuple[_Guarded, str]]:
    guarded = _Guarded()
    application = web.Application()
    application.router.add_post("/token", guarded.token)
    application.router.add_route("*", "/api/{path:.*}", guarded.answer)
    async with TestServer(application) as server:
        yield guarded, str(server.make_url("")).rstrip("/")


def _file(folder: Path, text: str = CANARY) -> SecretFile:
    path = folder / "secret"
    path.write_text(f"{text}\n", encoding="utf-8")
    return SecretFile("bearer.tokenFile", path)


def _client(url: str, credential: Credential, **more: Any) -> Client:
    return Client(Wire(url.rstrip("/"), 10.0, credential=credential, **more))


async def _asked(client: Client) -> str:
    """What an attempt said; empty when it was answered."""
    try:
        await client.instant("up", NOW)
    except (SourceDownError, RefusedQueryError) as error:
        return str(error)
    finally:
        await client.close()
    return ""


async def test_a_bearer_token_is_read_again_when_it_rotates(source: tuple[_Guarded, str], tmp_path: Path) -> None:
    guarded, url = source
    file = _file(tmp_path)
    client = _client(url, Bearer(file.read, "bearer.tokenFile"))
    guarded.wanted = f"Bearer {CANARY}"
    await client.instant("up", NOW)
    assert await client.names() == ["up"], "the names' library asks with the same token"
    _file(tmp_path, "another-one")
    guarded.wanted = "Bearer another-one"
    await client.instant("up", NOW)
    await client.close()


async def test_a_user_and_a_password(source: tuple[_Guarded, str], tmp_path: Path) -> None:
    guarded, url = source
    guarded.wanted = f"Basic {base64.b64encode(b'me:pa:ss').decode()}"
    client = _client(url, Basic("me", _file(tmp_path, "pa:ss").read), headers={"X-Scope-OrgID": "recs"})
    assert await _asked(client) == ""
    assert guarded.headers[0]["X-Scope-OrgID"] == "recs"


def _oauth(url: str, tmp_path: Path) -> OAuth2:
    form = {"scope": "metrics read", "audience": "prometheus"}
    return OAuth2(f"{url}/token", "modelrollout", _file(tmp_path, "a b&c").read, form, Tls())


async def test_oauth2_asks_once_for_many_and_again_once_when_the_token_is_refused(
    source: tuple[_Guarded, str], tmp_path: Path
) -> None:
    guarded, url = source
    client = _client(url, _oauth(url, tmp_path))
    await asyncio.gather(*(client.instant("up", NOW) for _ in range(20)))
    assert len(guarded.tokens) == 1
    asked = guarded.tokens[0]
    assert base64.b64decode(asked.pop("Authorization").removeprefix("Basic ")) == b"modelrollout:a+b%26c"
    assert asked == {"grant_type": "client_credentials", "scope": "metrics read", "audience": "prometheus"}
    guarded.wanted = "Bearer revoked meanwhile"
    await client.instant("up", NOW)
    assert len(guarded.tokens) == 2
    guarded.token_answer = lambda _: web.json_response({"access_token": "never right"})
    guarded.wanted = "Bearer something else"
    before = len(guarded.heard)
    with pytest.raises(SourceDownError, match=r"refuses the operator \(HTTP 401\): look at the rights of"):
        await client.instant("up", NOW)
    assert len(guarded.heard) == before + 2, "one more try, not a loop"
    await client.close()


@pytest.mark.parametrize(("lives", "fetched"), [(0.2, 2), (3600, 1), ("3600", 1), (None, 1), ("soon", 1), (-1, 1)])
async def test_oauth2_renews_a_token_before_it_ends(
    source: tuple[_Guarded, str], tmp_path: Path, lives: object, fetched: int
) -> None:
    guarded, url = source
    guarded.expires_in = lives
    client = _client(url, _oauth(url, tmp_path))
    await client.instant("up", NOW)
    await asyncio.sleep(0.2)
    await client.instant("up", NOW)
    assert len(guarded.tokens) == fetched
    await client.close()


_TOKEN_ANSWERS: dict[str, tuple[Callable[[web.Request], web.Response], str]] = {
    "refused": (
        lambda r: web.json_response(
            {"error": "invalid_client", "error_description": r.headers["Authorization"]}, status=401
        ),
        "gives no token (HTTP 401, invalid_client): look at oauth2.clientId",
    ),
    "a code that quotes": (
        lambda r: web.json_response({"error": r.headers["Authorization"]}, status=400),
        "gives no token (HTTP 400): look at",
    ),
    "a page": (lambda r: web.Response(text="<html>"), "gives no token (HTTP 200)"),
    "a token with a line break": (lambda r: web.json_response({"access_token": "a\r\nX-Evil: 1"}), "gives no token"),
    "a redirect": (lambda r: web.Response(status=302, headers={"Location": "http://x"}), "gives no token (HTTP 302)"),
    "too much": (lambda r: web.Response(text="{" + " " * 2_000_000), "answers with more than 1 MiB"),
}


@pytest.mark.parametrize("kind", list(_TOKEN_ANSWERS))
async def test_a_token_server_that_gives_none_is_named(source: tuple[_Guarded, str], tmp_path: Path, kind: str) -> None:
    guarded, url = source
    guarded.token_answer, words = _TOKEN_ANSWERS[kind]
    said = await _asked(_client(url, _oauth(url, tmp_path)))
    assert "cannot be asked: the token server at" in said
    assert words in said
    assert guarded.heard == []


def _echo(status: int) -> Answering:
    async def answer(request: web.Request) -> web.Response:
        said = request.headers.get("Authorization", "")
        kind = "bad_data" if status == 400 else "execution"
        kind += said if status == 500 else ""
        body = {"status": "error", "errorType": kind, "error": f"who is {said.partition(' ')[2]}? {said}"}
        return web.json_response(body, status=status)

    return answer


async def _quotes(request: web.Request) -> web.Response:
    said = request.headers.get("Authorization", "")
    return web.json_response({"status": "success", "warnings": [f"{said} was not heard everywhere"], "data": {}})


async def _header(request: web.Request) -> web.Response:
    return web.Response(headers={"Content-Encoding": request.headers.get("Authorization", "")[:18]})


async def _drop(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


@pytest.mark.parametrize("kind", ["bearer", "basic", "oauth2"])
@pytest.mark.parametrize(
    "answer", [_echo(400), _echo(422), _echo(500), _echo(401), _echo(403), _quotes, _header, _drop, None]
)
async def test_no_failure_ever_says_a_secret(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: str, answer: Answering | None
) -> None:
    """Every way to fail, with servers that quote what they were sent; in errors, their causes, logs and repr()."""
    caplog.set_level(logging.DEBUG)
    guarded = _Guarded()
    application = web.Application()
    application.router.add_post("/token", guarded.token)
    if answer is not None:
        application.router.add_route("*", "/api/{path:.*}", answer)
    async with TestServer(application) as server:
        url = str(server.make_url("")).rstrip("/")
        file = _file(tmp_path)
        kinds: dict[str, Credential] = {
            "bearer": Bearer(file.read, "bearer.tokenFile"),
            "basic": Basic("me", file.read),
            "oauth2": OAuth2(f"{url}/token", "me", file.read, {}, Tls()),
        }
        credential = kinds[kind]
        wire = Wire(url.rstrip("/"), 10.0, credential=credential)
        client = Client(wire)
        heard = repr([wire, credential, file, client])
        found = await asyncio.gather(client.instant("up", NOW), client.names(), return_exceptions=True)
        assert isinstance(found[0], SourceDownError | RefusedQueryError)
        for one in found:
            error: BaseException | None = one if isinstance(one, BaseException) else None
            while error is not None:
                heard += f"{error} {error!r}"
                error = error.__cause__ or error.__context__
        await client.close()
    secrets = [CANARY, base64.b64encode(f"me:{CANARY}".encode()).decode()]
    heard += caplog.text
    assert not [one for one in secrets if one in heard]
    assert CANARY[:12] not in heard.lower(), "nor a part of one"


@pytest.mark.parametrize(
    ("text", "words"),
    [("", "is empty"), ("two\nlines", "holds no token"), ("Bearer x", "holds no token"), ("ключ", "holds no token")],
)
async def test_what_is_no_token_is_said_and_not_sent(
    source: tuple[_Guarded, str], tmp_path: Path, text: str, words: str
) -> None:
    guarded, url = source
    said = await _asked(_client(url, Bearer(_file(tmp_path, text).read, "bearer.tokenFile")))
    assert words in said
    assert guarded.heard == []


async def test_a_secret_that_is_not_there_or_no_text_is_named(source: tuple[_Guarded, str], tmp_path: Path) -> None:
    missing = SecretFile("basic.passwordFile", tmp_path / "none")
    said = await _asked(_client(source[1], Basic("me", missing.read)))
    assert "cannot be asked: basic.passwordFile:" in said
    assert "cannot be read (No such file or directory)" in said
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\xfd")
    said = await _asked(_client(source[1], Basic("me", SecretFile("x", tmp_path / "bytes").read)))
    assert "is no text in UTF-8" in said


class _Certified:
    """A TLS server whose certificate is for prometheus.internal, and 127.0.0.1."""

    def __init__(self, folder: Path) -> None:
        self.ca = certificates.authority(folder)
        self.server = certificates.signed(folder, self.ca, "prometheus.internal")
        self.by_number = certificates.signed(folder, self.ca, "by-number", "IP:127.0.0.1")
        self.client = certificates.signed(folder, self.ca, "operator")

    def running(self, pair: certificates.Pair, *, wants_client: bool = False) -> TestServer:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=self.ca.cert)
        context.load_cert_chain(pair.cert, pair.key)
        context.verify_mode = ssl.CERT_REQUIRED if wants_client else ssl.CERT_NONE
        application = web.Application()

        async def answer(_: web.Request) -> web.Response:
            return _nothing()

        application.router.add_route("*", "/{path:.*}", answer)
        server = TestServer(application, scheme="https")
        server.ssl_context = context  # type: ignore[attr-defined]
        return server


@pytest.fixture(scope="module")
def certified(tmp_path_factory: pytest.TempPathFactory) -> _Certified:
    return _Certified(tmp_path_factory.mktemp("tls"))


async def _over_tls(certified: _Certified, pair: certificates.Pair, tls: Tls, *, wants_client: bool = False) -> str:
    server = certified.running(pair, wants_client=wants_client)
    await server.start_server(ssl=server.ssl_context)  # type: ignore[attr-defined]
    try:
        return await _asked(_client(f"https://127.0.0.1:{server.port}", Credential(), tls=tls))
    finally:
        await server.close()


async def test_certificates_are_verified(certified: _Certified, tmp_path: Path) -> None:
    ca = certified.ca.cert
    assert await _over_tls(certified, certified.by_number, Tls(ca_file=ca)) == ""
    said = await _over_tls(certified, certified.by_number, Tls())
    assert "its TLS certificate is not trusted (self-signed certificate in certificate chain)" in said
    said = await _over_tls(certified, certified.server, Tls(ca_file=ca))
    assert "its TLS certificate is not trusted (IP address mismatch" in said
    assert await _over_tls(certified, certified.server, Tls(ca_file=ca, server_name="prometheus.internal")) == ""
    other = certificates.authority(tmp_path, "other")
    assert "not trusted" in await _over_tls(certified, certified.by_number, Tls(ca_file=other.cert))


async def test_a_certificate_of_the_operators_own(certified: _Certified) -> None:
    ca, mine = certified.ca.cert, certified.client
    tls = Tls(ca_file=ca, cert_file=mine.cert, key_file=mine.key)
    assert await _over_tls(certified, certified.by_number, tls, wants_client=True) == ""
    assert await _over_tls(certified, certified.by_number, Tls(ca_file=ca), wants_client=True) != ""


async def test_files_that_are_no_certificates_are_named(certified: _Certified, tmp_path: Path) -> None:
    rubbish = tmp_path / "rubbish"
    rubbish.write_text("no certificate")
    pair = certified.by_number
    assert "tls.caFile" in await _over_tls(certified, pair, Tls(ca_file=rubbish))
    assert "cannot be read" in await _over_tls(certified, pair, Tls(ca_file=tmp_path / "none"))
    assert "tls.certFile" in await _over_tls(certified, pair, Tls(cert_file=pair.cert, key_file=rubbish))


def test_a_ca_that_rotates_is_read_again(certified: _Certified, tmp_path: Path) -> None:
    file = tmp_path / "ca.crt"
    file.write_bytes(certified.ca.cert.read_bytes())
    tls = Tls(ca_file=file)
    first = tls.context()
    assert tls.context() is first
    file.write_bytes(certificates.authority(tmp_path, "new").cert.read_bytes())
    assert tls.context() is not first
