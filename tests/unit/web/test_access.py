"""Who is let in: what the cluster says, believed for a while, and asked for at a pace."""

from __future__ import annotations

import asyncio

import pytest

from modelrollout.kube.client import ROLLOUTS, KubeError
from modelrollout.web.access import AUDIENCE, Access, RefusedError
from tests.unit.web.cluster import Clock, Reviews, jwt


@pytest.fixture
def reviews() -> Reviews:
    return Reviews()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def access(reviews: Reviews, clock: Clock) -> Access:
    return Access(reviews, clock)


async def test_an_answer_is_believed_for_a_minute(access: Access, reviews: Reviews, clock: Clock) -> None:
    for _ in range(30):
        person = await access.who("Bearer alice-token")
        assert await access.may(person, "list", ROLLOUTS, "recs")
    assert (person.name, person.groups) == ("alice", ("g",))
    assert (reviews.count("TokenReview"), reviews.count("SubjectAccessReview")) == (1, 1)
    clock.now += 60.0
    reviews.people.clear()
    with pytest.raises(RefusedError, match="does not know this token"):
        await access.who("Bearer alice-token")


async def test_a_no_is_believed_for_ten_seconds(access: Access, reviews: Reviews, clock: Clock) -> None:
    person = await access.who("Bearer alice-token")
    for _ in range(5):
        assert not await access.may(person, "list", ROLLOUTS, "ads")
    assert reviews.count("SubjectAccessReview") == 1
    clock.now += 10.0
    assert not await access.may(person, "list", ROLLOUTS, "ads")
    assert reviews.count("SubjectAccessReview") == 2


async def test_many_who_come_at_once_with_one_token_ask_once(access: Access, reviews: Reviews) -> None:
    await asyncio.gather(*(access.who("Bearer alice-token") for _ in range(30)))
    assert reviews.count("TokenReview") <= 3, "as many as are asked at once"


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer ", "Basic YTpi", "Bearer a b", "Bearer ä", "Bearer " + "x" * 20_000]
)
async def test_what_is_no_token_is_refused_without_asking(access: Access, reviews: Reviews, header: str) -> None:
    with pytest.raises(RefusedError) as refused:
        await access.who(header)
    assert refused.value.status == 401
    assert "kubectl create token" in refused.value.remedy
    assert reviews.asked == []


async def test_guessing_tokens_is_slowed_down(access: Access, reviews: Reviews, clock: Clock) -> None:
    statuses = []
    for number in range(40):
        with pytest.raises(RefusedError) as refused:
            await access.who(f"Bearer guess-{number}")
        statuses.append(refused.value.status)
    assert statuses == [401] * 20 + [429] * 20
    assert reviews.count("TokenReview") == 20
    assert refused.value.retry_after == 1
    clock.now += 1.0
    assert (await access.who("Bearer alice-token")).name == "alice", "five more a second"


async def test_a_token_for_this_page_alone_is_checked_as_such(access: Access, reviews: Reviews) -> None:
    token = jwt(AUDIENCE, "alice")
    reviews.people[token] = "alice"
    assert (await access.who(f"Bearer {token}")).name == "alice"
    assert reviews.asked[-1]["spec"]["audiences"] == [AUDIENCE]
    other = jwt("https://kubernetes.default.svc", "alice")
    reviews.people[other] = "alice"
    assert (await access.who(f"Bearer {other}")).name == "alice"
    assert "audiences" not in reviews.asked[-1]["spec"], "any other one must be good for the API server itself"


async def test_a_server_that_does_not_know_audiences_lets_nobody_in_by_one(access: Access, reviews: Reviews) -> None:
    token = jwt(AUDIENCE, "alice")

    async def old(path: str, body: object) -> dict[str, object]:
        return {"status": {"authenticated": True, "user": {"username": "alice"}}}

    reviews.create = old  # type: ignore[method-assign]
    with pytest.raises(RefusedError):
        await access.who(f"Bearer {token}")


async def test_who_may_not_is_told_what_to_ask_for(access: Access) -> None:
    person = await access.who("Bearer alice-token")
    with pytest.raises(RefusedError) as refused:
        await access.must(person, "get", ROLLOUTS, "ads", "banner")
    assert refused.value.status == 403
    assert refused.value.message == "alice may not get modelrollouts in namespace ads"
    assert "kubectl create rolebinding modelrollout-viewer -n ads" in refused.value.remedy
    assert "--user=alice" in refused.value.remedy


@pytest.mark.parametrize(
    ("error", "words"),
    [(KubeError(403, "forbidden"), "may not create tokenreviews"), (KubeError(0, "timed out"), "timed out")],
)
async def test_what_cannot_be_found_out_is_no_yes(
    access: Access, reviews: Reviews, error: KubeError, words: str
) -> None:
    reviews.broken = error
    with pytest.raises(RefusedError, match=words) as refused:
        await access.who("Bearer alice-token")
    assert refused.value.status == 503
    reviews.broken = None
    assert (await access.who("Bearer alice-token")).name == "alice", "trouble is not remembered"


async def test_no_token_is_kept(access: Access) -> None:
    await access.who("Bearer alice-token")
    assert "alice-token" not in repr(vars(access._people))
