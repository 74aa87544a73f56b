"""The web page on a real cluster: real tokens, real reviews, a real release, a real browser."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from localcluster import LocalCluster, eventually
from tests.support.browser import CHROMIUM, FLAGS
from tests.support.operator import ROOT
from tests.support.scene import Scene, changed

if TYPE_CHECKING:
    from tests.support.operator import Operator

_ADDRESS: Final = "127.0.0.1:8090"
_URL: Final = f"http://{_ADDRESS}"
_RIGHTS: Final = ROOT / "manifests" / "components" / "web" / "rbac.yaml"
_EVIL: Final = "<img src=x onerror=\"document.title='owned'\"><script>alert(1)</script>"
_LOOKS: Final[tuple[tuple[int, int, Literal["light", "dark"]], ...]] = (
    (390, 844, "light"),
    (1280, 900, "dark"),
    (1600, 1000, "light"),
)
_CHECKS: Final = Path(ROOT / "tests" / "support" / "accessible.js").read_text(encoding="utf-8")
_PATIENCE_MS: Final = 60_000
_LINE: Final = re.compile(r"L\d")
"""More than one point in a path of SVG."""


@pytest.fixture(scope="module")
def web(cluster: LocalCluster, operator: Operator) -> Operator:
    """The operator with its page, which stays: a start costs seconds, and a page that nobody asks costs nothing."""
    cluster.kubectl("apply", "-f", str(_RIGHTS))
    operator.kill()
    operator.arguments += ["--web", _ADDRESS]
    operator.start()
    return operator


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Headless Chromium."""
    if not CHROMIUM.exists():
        pytest.skip(f"{CHROMIUM} is not installed (scripts/setup-system installs it)")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        yield running
        running.close()


def _ask(path: str, token: str = "") -> tuple[int, dict[str, Any]]:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        with urllib.request.urlopen(urllib.request.Request(_URL + path, headers=headers), timeout=20) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def _account(scene: Scene, name: str, role: str = "modelrollout-viewer") -> str:
    """A ServiceAccount with a role in the scene's namespace, and its token for the page alone."""
    scene.kubectl("create", "serviceaccount", name)
    if role:
        who = f"--serviceaccount={scene.namespace}:{name}"
        scene.kubectl("create", "rolebinding", name, f"--clusterrole={role}", who)
    return _token(scene, name)


def _token(scene: Scene, name: str, audience: str = "modelrollout-web") -> str:
    for_whom = [f"--audience={audience}"] if audience else []
    return scene.kubectl("create", "token", name, "--duration=10m", *for_whom).strip()


def test_everybody_sees_what_their_token_may_see(cluster: LocalCluster, web: Operator, namespace: str) -> None:
    """A viewer, the same person with a token for the API server, people of other namespaces, strangers."""
    scene = Scene(cluster, namespace)
    scene.apply("1")
    viewer, nobody = _account(scene, "viewer"), _account(scene, "nobody", role="")
    there = f"/api/v1/rollouts/{namespace}/ranker"
    for token in (viewer, _token(scene, "viewer", audience="")):
        _known(there, token)
        assert _ask("/api/v1/me", token)[1] == {"user": f"system:serviceaccount:{namespace}:viewer"}
        found = _ask("/api/v1/rollouts", token)[1]
        assert [(one["namespace"], one["name"]) for one in found["items"]] == [(namespace, "ranker")]
        assert _ask("/api/v1/rollouts/default/ranker", token)[0] == 403
    assert _ask(there, viewer)[1]["pods"] is None, "this role sees no Deployments"

    status, refused = _ask(there, nobody)
    assert status == 403
    assert "nobody may not get modelrollouts" in refused["error"]
    assert refused["remedy"].startswith("ask an administrator: kubectl create rolebinding")
    told = refused["remedy"].removeprefix("ask an administrator: kubectl ").replace("rolebinding m", "rolebinding x-m")
    cluster.kubectl(*told.split())
    listed = f"/api/v1/rollouts?namespace={namespace}"
    eventually(lambda: _ask(listed, nobody)[0] == 200, "the remedy to help", timeout=30)

    for stranger in ("", "rubbish", viewer[:-4] + "AAAA", _token(scene, "viewer", audience="somebody-else")):
        assert _ask(there, stranger)[0] == 401
        assert _ask("/api/v1/rollouts", stranger)[0] == 401
    gone = _account(scene, "gone")
    scene.kubectl("delete", "serviceaccount", "gone")
    eventually(lambda: _ask(there, gone)[0] == 401, "a token of a deleted account to be worth nothing", timeout=30)


def test_without_the_right_to_ask_nobody_is_let_in(cluster: LocalCluster, web: Operator, namespace: str) -> None:
    """The operator's own roles do not contain the reviews; the page says what is missing, and releases go on."""
    scene = Scene(cluster, namespace)
    token = _account(scene, "viewer")
    cluster.kubectl("delete", "clusterrolebinding", "modelrollout-web")
    status, refused = eventually(lambda: _refused_with(503, token), "the page to say what is missing", timeout=30)
    assert status == 503
    assert "may not create tokenreviews" in refused["error"]
    assert str(_RIGHTS.relative_to(ROOT)) in refused["remedy"]
    cluster.kubectl("apply", "-f", str(_RIGHTS))
    eventually(lambda: _ask("/api/v1/rollouts?namespace=" + namespace, token)[0] == 200, "it to be back", timeout=30)


def _known(path: str, token: str) -> None:
    eventually(lambda: _ask(path, token)[0] == 200, "the page to know the rollout", timeout=30)


def _refused_with(status: int, token: str) -> tuple[int, dict[str, Any]]:
    answer = _ask("/api/v1/rollouts", token)
    assert answer[0] == status, answer
    return answer


def test_detail_41_a_release_is_followed_in_a_browser(
    cluster: LocalCluster, web: Operator, browser: Browser, namespace: str
) -> None:
    """From the token to the rollback and through a restart of the operator, without a reload: the three lines, the
    charts; and what users wrote is shown as they wrote it."""
    scene = Scene(cluster, namespace)
    scene.serve_first()
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page, troubles = context.new_page(), list[str]()
    page.on("console", lambda said: troubles.append(said.text) if said.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("dialog", lambda dialog: troubles.append(dialog.message))
    page.on("request", lambda request: None if request.url.startswith(_URL) else troubles.append(request.url))
    expect.set_options(timeout=_PATIENCE_MS)

    _sign_in(page, _account(scene, "viewer"))
    assert _accessible(page) == []
    assert [one for one in troubles if "401 (Unauthorized)" not in one] == [], "Chromium tells of the wrong token"
    troubles.clear()
    page.get_by_role("link", name="ranker").click()
    lines = page.get_by_label("In three lines")
    expect(lines).to_contain_text("version 1 serves all users")
    with scene.users(30):
        scene.apply("2", change=changed(steps=[{"weight": 50, "hold": "1h"}]))
        expect(lines).to_contain_text("version 2 serves 50", timeout=_PATIENCE_MS)
        expect(page.get_by_label("gate errors").locator("path.series.new")).to_have_attribute("d", _LINE)
        assert _accessible(page) == []
        scene.decide("abort", comment=_EVIL)
        expect(page.get_by_role("heading", level=1).locator("xpath=..")).to_contain_text("RolledBack")
        expect(lines).to_contain_text(_EVIL)
        expect(lines).to_contain_text("version 1 serves all users")
        expect(lines).to_contain_text("kubectl modelrollout retry")
    assert page.title() == f"✕ RolledBack · {namespace}/ranker"
    assert troubles == []
    web.kill()
    expect(page.locator("#pulse")).to_contain_text("the operator does not answer")
    expect(lines).to_contain_text("version 1 serves all users")
    web.start()
    expect(page.locator("#pulse")).to_have_text("live")
    page.get_by_role("button", name="Forget token").click()
    expect(page.get_by_label("Token", exact=True)).to_be_focused()
    assert _accessible(page) == []
    assert page.evaluate("sessionStorage.length") == 0
    context.close()


def _sign_in(page: Page, token: str) -> None:
    """With the keyboard alone, after a token that is none."""
    page.goto(_URL)
    for given in ("rubbish", token):
        expect(page.get_by_label("Token", exact=True)).to_be_focused()
        page.keyboard.type(given)
        page.keyboard.press("Enter")
        if given == "rubbish":
            expect(page.get_by_role("alert")).to_contain_text("does not know this token")
    expect(page.get_by_role("heading", level=1)).to_have_text("Rollouts")


def _accessible(page: Page) -> list[str]:
    """What is wrong with the page at three sizes, in light and dark."""
    before = page.viewport_size
    found = []
    for width, height, scheme in _LOOKS:
        page.set_viewport_size({"width": width, "height": height})
        page.emulate_media(color_scheme=scheme)
        page.wait_for_timeout(150)
        found += [f"{width} {scheme} {one}" for one in page.evaluate(_CHECKS)]
    assert before is not None
    page.set_viewport_size(before)
    return found


def test_the_overlay_is_the_operator_with_the_page(cluster: LocalCluster) -> None:
    """The argument, the rights and the Service come together, and not at all without."""
    with_page = cluster.kubectl("kustomize", str(ROOT / "manifests" / "overlays" / "web")).stdout
    without = cluster.kubectl("kustomize", str(ROOT / "manifests" / "base")).stdout
    for part in ("--web=127.0.0.1:8090", "tokenreviews", "subjectaccessreviews", "name: modelrollout-web"):
        assert part in with_page
        assert part not in without
    cluster.kubectl("create", "--dry-run=server", "-f", str(_RIGHTS))
