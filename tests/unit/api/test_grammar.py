"""The small languages in a manifest: what is accepted, what it means, and that nothing breaks out of a query."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any, Final

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from modelrollout.api.crd import crds
from modelrollout.api.grammar import (
    format_duration,
    parse_duration,
    parse_limit,
    parse_looks,
    parse_percent,
    parse_reference,
    parse_risk,
    parse_selector,
)
from tests.unit.api.corpus import BUCKETS, DURATIONS, FITTING, LIMITS, LOOKS, PERCENTS, RISKS, SELECTORS

_SPEC: Final = crds()["modelrollouts.yaml"]["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
_GATE: Final = _SPEC["properties"]["gates"]["items"]["properties"]
_GRAMMARS: Final[list[tuple[Callable[[str], object], dict[str, Any], dict[str, bool]]]] = [
    (parse_duration, _SPEC["properties"]["warmup"], DURATIONS),
    (
        parse_percent,
        _SPEC["properties"]["evaluation"]["properties"]["catastrophe"]["properties"]["errorsAbove"],
        PERCENTS,
    ),
    (parse_limit, _GATE["atMost"], LIMITS),
    (parse_selector, _GATE["ratio"]["properties"]["total"], SELECTORS),
]
_CASES: Final = [
    pytest.param(parse, field, text, good, id=f"{parse.__name__}:{text!r}")
    for parse, field, corpus in _GRAMMARS
    for text, good in corpus.items()
]


def _accepts(parse: Callable[[Any], object], text: Any) -> bool:
    try:
        parse(text)
    except ValueError:
        return False
    return True


def _schema_accepts(field: dict[str, Any], text: str) -> bool:
    """What the API server would say, from the rules in the CRD (in RE2 ``$`` is the end of the text)."""
    if not field["minLength"] <= len(text) <= field["maxLength"]:
        return False
    return all(_holds(rule["rule"], text) for rule in field["x-kubernetes-validations"])


def _holds(rule: str, text: str) -> bool:
    """Evaluate the little CEL that patterned texts use: matches, negation and or."""
    found = []
    for term in rule.split(" || "):
        call = re.fullmatch(r"(!?)self\.matches\((?:r'''(.*)'''|'(.*)')\)", term, flags=re.DOTALL)
        assert call is not None, f"this test cannot evaluate {term}"
        pattern = (call.group(2) or call.group(3)).replace("$)", r"\Z)")
        pattern = re.sub(r"\$$", r"\\Z", pattern)
        found.append(bool(re.search(pattern, text)) != bool(call.group(1)))
    return any(found)


@pytest.mark.parametrize(("parse", "field", "text", "good"), _CASES)
def test_parser_and_schema_agree(parse: Callable[[str], object], field: dict[str, Any], text: str, good: bool) -> None:
    """§7.20: one grammar, checked twice. tests/cluster puts the same texts to a real API server."""
    assert _accepts(parse, text) == good
    assert _schema_accepts(field, text) == good


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0s", 0), ("30s", 30), ("500ms", 0.5), ("15m", 900), ("1h30m", 5400), ("168h", 604800), ("1h2m3s4ms", 3723.004)],
)
def test_durations_mean(text: str, seconds: float) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@given(st.integers(0, 99_999), st.integers(0, 59), st.integers(0, 59))
def test_a_composed_duration_is_the_sum_of_its_parts(hours: int, minutes: int, seconds: int) -> None:
    assert parse_duration(f"{hours}h{minutes}m{seconds}s") == timedelta(hours=hours, minutes=minutes, seconds=seconds)


@given(st.integers(0, 3599) | st.integers(0, 10_000).map(lambda minutes: 60 * minutes))
@example(172_800 + 60)
def test_durations_round_trip(seconds: int) -> None:
    """What is shown of a hold can be pasted back; above an hour seconds are not shown, whole days are shown as such."""
    shown = format_duration(seconds)
    if shown.endswith("d"):
        assert int(shown[:-1]) * 86_400 == seconds
    else:
        assert parse_duration(shown) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("text", "factor", "offset", "seconds"),
    [
        ("200ms", 0.0, 0.2, True),
        ("1.5s", 0.0, 1.5, True),
        ("1%", 0.0, 0.01, False),
        ("0.02", 0.0, 0.02, False),
        ("baseline", 1.0, 0.0, False),
        ("baseline + 0.2pp", 1.0, 0.002, False),
        ("baseline - 0.5pp", 1.0, -0.005, False),
        ("99% of baseline", 0.99, 0.0, False),
        ("110% of baseline + 0.1pp", 1.1, 0.001, False),
        ("17179869184", 0.0, 17179869184.0, False),
        ("-40", 0.0, -40.0, False),
        ("baseline + 12", 1.0, 12.0, False),
        ("baseline - 0.02", 1.0, -0.02, False),
        ("98% of baseline - 0.5", 0.98, -0.5, False),
    ],
)
def test_limits_mean(text: str, factor: float, offset: float, seconds: bool) -> None:
    limit = parse_limit(text)
    assert limit.factor == pytest.approx(factor)
    assert limit.offset == pytest.approx(offset)
    assert limit.seconds == seconds
    assert limit.relative == (factor > 0)
    assert limit.at(0.03) == pytest.approx(factor * 0.03 + offset)


def test_a_relative_limit_without_baseline_is_unknown() -> None:
    assert parse_limit("99% of baseline").at(None) is None
    assert parse_limit("1%").at(None) == pytest.approx(0.01)


@pytest.mark.parametrize(
    ("text", "readings"),
    [
        ("baseline + 0.2%", ('"baseline + 0.2pp"', '"100.2% of baseline"')),
        ("baseline - 1%", ('"baseline - 1pp"', '"99% of baseline"')),
    ],
)
def test_a_bare_percent_in_a_difference_is_refused_with_both_readings(text: str, readings: tuple[str, str]) -> None:
    """§7.20: the two differ by a factor of hundred on a small rate."""
    with pytest.raises(ValueError, match="two readings") as refused:
        parse_limit(text)
    for reading in readings:
        assert reading in str(refused.value)
        assert _accepts(parse_limit, reading.strip('"'))


@pytest.mark.parametrize(
    ("text", "readings"),
    [
        ("baseline + 0.2", ('"baseline + 0.2pp"', '"baseline + 20pp"')),
        ("baseline - 0.005", ('"baseline - 0.005pp"', '"baseline - 0.5pp"')),
        ("110% of baseline + 0.1", ('"110% of baseline + 0.1pp"', '"110% of baseline + 10pp"')),
    ],
)
def test_a_bare_number_in_a_difference_of_shares_is_refused_with_both_readings(
    text: str, readings: tuple[str, str]
) -> None:
    with pytest.raises(ValueError, match="two readings") as refused:
        parse_limit(text, kind="ratio")
    for reading in readings:
        assert reading in str(refused.value)
        assert _accepts(parse_limit, reading.strip('"'))
    assert parse_limit(text, kind="report").relative


@pytest.mark.parametrize(
    ("worse", "limit", "at_least", "may"),
    [
        ("baseline + 2pp", "baseline + 0.2pp", False, True),
        ("baseline - 2pp", "baseline + 0.2pp", False, False),
        ("baseline + 0.2pp", "baseline + 0.2pp", False, False),
        ("0.01", "1%", False, False),
        ("90% of baseline", "99% of baseline", True, True),
        ("99% of baseline", "90% of baseline", True, False),
        ("90% of baseline + 0.1pp", "99% of baseline", True, True),
        ("110% of baseline", "1%", False, True),
        ("1%", "110% of baseline", False, True),
        ("250ms", "200ms", False, True),
        ("0.2s", "200ms", False, False),
    ],
)
def test_a_limit_is_beyond_another_if_there_is_a_baseline_at_which_it_is_worse(
    worse: str, limit: str, at_least: bool, may: bool
) -> None:
    found, other = parse_limit(worse), parse_limit(limit)
    assert found.may_be_beyond(other, at_least=at_least) == may
    sign = -1 if at_least else 1
    baselines = [0.0, 0.0001, 0.01, 0.1, 1.0]
    assert may == any(sign * ((found.at(b) or 0.0) - (other.at(b) or 0.0)) > 1e-12 for b in baselines)


def test_looks_mean() -> None:
    assert parse_looks("3 of 5") == (3, 5)
    assert parse_looks("1 of 1") == (1, 1)


@pytest.mark.parametrize(("text", "good"), LOOKS.items())
def test_looks_are_at_most_as_many_as_are_looked_at(text: str, good: bool) -> None:
    assert _accepts(parse_looks, text) == good


def test_looks_the_wrong_way_round_are_shown_the_right_way_round() -> None:
    with pytest.raises(ValueError, match='"5 of 3" wants more looks than it looks at: write it like "3 of 5"'):
        parse_looks("5 of 3")


@pytest.mark.parametrize(("text", "good"), RISKS.items())
def test_a_risk_is_between_a_hundredth_and_twenty_percent(text: str, good: bool) -> None:
    assert _accepts(parse_risk, text) == good


def test_a_risk_means_a_probability() -> None:
    assert parse_risk("1%") == pytest.approx(0.01)
    with pytest.raises(ValueError, match=r'"50%" is out of reach: write at least 0.01% and at most 20%'):
        parse_risk("50%")


@pytest.mark.parametrize(("text", "good"), BUCKETS.items())
def test_the_bound_of_a_bucket_is_a_number_as_prometheus_writes_it(text: str, good: bool) -> None:
    assert (
        _accepts(parse_reference, {"+Inf": "100%", "1234": "0%"} | {text: "0%" if text != "+Inf" else "100%"}) == good
    )


def test_a_reference_is_sorted_by_number_and_scaled_to_one() -> None:
    found = parse_reference({"+Inf": "33.3%", "10": "33.3%", "9.5": "33.3%"})
    assert [bound for bound, _ in found] == [9.5, 10.0, float("inf")]
    assert sum(share for _, share in found) == pytest.approx(1.0, abs=1e-15)


@pytest.mark.parametrize(
    ("reference", "says"),
    [
        ({"0.5": "40%", "1": "60%"}, 'the last bucket is missing: give the share of "+Inf"'),
        ({"0.5": "40%", "+Inf": "100%"}, "the shares sum to 140%: they must sum to 100%"),
        ({"0.5": "40%", "+Inf": "59%"}, "the shares sum to 99%"),
        ({"0.5": "40%", "0.50": "20%", "+Inf": "40%"}, "0.5, 0.50, +Inf name one bound twice"),
        ({"half": "40%", "+Inf": "60%"}, '"half" is not the bound of a bucket: write a number like "0.5"'),
        ({"0.5": "0.4", "+Inf": "0.6"}, '"0.4" is not a percentage'),
    ],
)
def test_a_reference_that_is_no_distribution_is_refused(reference: dict[str, str], says: str) -> None:
    with pytest.raises(ValueError, match=re.escape(says)):
        parse_reference(reference)


@pytest.mark.parametrize("parse", [parse_duration, parse_percent, parse_limit, parse_selector, parse_looks])
def test_a_refusal_shows_the_text_and_how_to_write_it(parse: Callable[[str], object]) -> None:
    with pytest.raises(ValueError, match=r'"what\?" is not a .*: write .* like ') as refused:
        parse("what?")
    assert str(refused.value).count('"what?"') == 1


@pytest.mark.parametrize("text", [text for text in SELECTORS if "namespace" in text and not SELECTORS[text]])
def test_a_matcher_on_the_namespace_is_refused(text: str) -> None:
    """§7.30: one team's gate never reads another team's series."""
    with pytest.raises(ValueError):
        parse_selector(text)


def test_a_selector_is_split_and_put_together() -> None:
    found = parse_selector('requests_total{ code=~"5..", path="/a}b", }')
    assert found.name == "requests_total"
    assert found.promql(extra='namespace="recs"') == 'requests_total{namespace="recs",code=~"5..", path="/a}b"}'
    assert parse_selector("seconds").promql(suffix="_bucket") == "seconds_bucket{}"


_NAMES: Final = st.from_regex(r"[a-zA-Z_:][a-zA-Z0-9_:]{0,12}", fullmatch=True)
_TRICKY: Final = st.text(alphabet="ab_={}[]()\"\\',~!5 \n\t#@.+-*/", max_size=24)
_MATCHERS: Final = st.tuples(
    st.sampled_from(["code", "path", "namespace", "le"]), st.sampled_from(["=", "!=", "=~", "!~"]), _TRICKY
).map(lambda parts: f'{parts[0]}{parts[1]}"{parts[2]}"')


def _outside_of_strings(promql: str) -> str:
    """The query with its string literals emptied, as PromQL's lexer would see it."""
    return re.sub(r'"([^"\\\n]|\\.)*"', '""', promql)


@given(
    st.one_of(st.tuples(_NAMES, st.lists(_MATCHERS, max_size=3)).map(lambda p: f"{p[0]}{{{','.join(p[1])}}}"), _TRICKY)
)
@example('up{a="b"} or up{a="c"}')
@example('up{a="\\"} or up{a="c"}')
def test_no_accepted_selector_breaks_out_of_its_braces(text: str) -> None:
    """However it is written: what is sent is one metric name, one pair of braces, and our namespace in front."""
    if not _accepts(parse_selector, text):
        return
    query = parse_selector(text).promql(extra='namespace="mine"')
    bare = _outside_of_strings(query)
    inside = re.fullmatch(r'[a-zA-Z0-9_:]+\s*\{namespace="",?([^{}]*)\}', bare)
    assert inside is not None
    assert re.fullmatch(r'( *[a-zA-Z0-9_]+(=|!=|=~|!~)"" *,?)*', inside.group(1))
    assert not re.search(r"(^|[, ])namespace", inside.group(1))


@given(_TRICKY | st.sampled_from(sorted({**DURATIONS, **PERCENTS, **LIMITS, **SELECTORS, **LOOKS})))
def test_the_parsers_refuse_with_a_value_error_and_nothing_else(text: str) -> None:
    for parse in (parse_duration, parse_percent, parse_limit, parse_selector, parse_looks, parse_risk):
        _accepts(parse, text)
    for kind in FITTING:
        _accepts(partial(parse_limit, kind=kind), text)
    _accepts(parse_reference, {text: text, "+Inf": "100%"})


@pytest.mark.parametrize(
    ("parse", "text"),
    [(parse_duration, "5m\n"), (parse_percent, "5%\n"), (parse_limit, "5%\n"), (parse_selector, "up\n")],
)
def test_a_newline_at_the_end_is_refused_as_by_the_api_server(parse: Callable[[str], object], text: str) -> None:
    with pytest.raises(ValueError, match="is not a"):
        parse(text)
