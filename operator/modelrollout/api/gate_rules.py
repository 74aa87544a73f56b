"""What a gate may say, as CEL that the API server checks: everything wrong that can be known before the first look.

One mistake should get one answer: a rule never speaks about a text that is wrong by its own grammar, because the field
has said so already.
"""

from __future__ import annotations

from typing import Any, Final

from modelrollout.api.fields import cel
from modelrollout.api.grammar import BUCKET_PATTERN, LIMIT_PATTERN, LIMITS_BY_KIND, PERCENT_PATTERN, REFERENCE_TOLERANCE
from modelrollout.api.meta import rule
from modelrollout.api.presets.base import ERRORS

__all__ = ["DRIFT_RULES", "GATE_RULES", "IDENTITY_RULES", "PROMQL_RULES", "RATIO_RULES"]

RATIO_RULES: Final = (
    rule("has(self.good) != has(self.bad)", "count either good or bad events: give exactly one of them"),
    rule(
        "has(self.total) != has(self.others)",
        "say what all events are: give exactly one of total (a counter of all) and others (a counter of those that "
        "good or bad does not count)",
    ),
)

DRIFT_RULES: Final = (
    rule(
        f"!has(self.reference) || self.reference.all(b, b.matches({cel(BUCKET_PATTERN)}))",
        'the name of each share is the upper bound of its bucket; write a number like "0.5" or "+Inf"',
        field_path=".reference",
    ),
    rule(
        "!has(self.reference) || '+Inf' in self.reference",
        'the last bucket is missing: give the share of "+Inf" too, like {"0.5": "40%", "+Inf": "60%"}',
        field_path=".reference",
    ),
    rule(
        f"!has(self.reference) || !self.reference.all(b, self.reference[b].matches({cel(PERCENT_PATTERN)})) || "
        "[self.reference.map(b, double(self.reference[b].replace('%', ''))).sum()]"
        f".all(s, s >= {100 - 100 * REFERENCE_TOLERANCE} && s <= {100 + 100 * REFERENCE_TOLERANCE})",
        "the shares must sum to 100%; give the share of events inside each bucket, not below it",
        field_path=".reference",
    ),
)

IDENTITY_RULES: Final = (
    rule("self.by != 'label' || has(self.label)", "by: label needs the label's name: give label"),
    rule(
        "self.by != 'podName' || !has(self.label)",
        "by: podName reads no label of yours: say by: label, podLabel or service, or leave label out",
        field_path=".label",
    ),
    rule(
        "!has(self.value) || self.value.contains('{revision}') || self.value.contains('{service}')",
        "the value must contain {revision} or {service}, or the revisions could not be told apart",
        field_path=".value",
    ),
    rule(
        "!has(self.value) || self.by in ['service', 'label']",
        "value is for by: service and by: label; leave it out",
        field_path=".value",
    ),
    rule(
        "!has(self.value) || self.by != 'service' || self.value.contains('{namespace}')",
        "the value must contain {namespace}, or Services of the same name in two namespaces would be taken for one",
        field_path=".value",
    ),
    rule(
        "!has(self.value) || self.by != 'service' || !self.value.contains('{namespace}') || "
        "self.value.matches('(^|[._/:@]|[}]-|[*]-svc-)[{]namespace[}]($|[._/:@]|-[{])')",
        "letters beside {namespace} would make it the name of another namespace; part them by one of . _ / : @, like "
        "{namespace}_{service}_{port}",
        field_path=".value",
    ),
)

_KNOWN: Final = "".join(f".replace('{{{name}}}', '')" for name in ("namespace", "revision", "service", "pods"))
PROMQL_RULES: Final = (
    rule(
        "self.contains('{revision}') || self.contains('{service}') || self.contains('{pods}')",
        "must name the revision, or both would give the same number; write {pods}, {service} or {revision}, like "
        'pod=~"{pods}"',
    ),
    rule(
        "self.contains('{namespace}')",
        "must name the namespace, or pods of the same name in two namespaces would be taken for one; write "
        'namespace="{namespace}"',
    ),
    rule(
        f"!self{_KNOWN}.matches('[{{][a-zA-Z_]+[}}]')",
        "has an unknown placeholder; there are {namespace}, {revision}, {service} and {pods}",
    ),
)

_LIMIT: Final = "(has(self.atMost) ? self.atMost : has(self.atLeast) ? self.atLeast : '')"
_MUST_SEE: Final = "(has(self.mustSee) ? self.mustSee : '')"
_NOT_BARE_DIFFERENCE: Final = ".matches('baseline [+-] [0-9.]+$')"


_IS_ERRORS: Final = f"has(self.preset) && self.preset.endsWith('/{ERRORS}')"
_IS: Final = {
    "ratio": f"(has(self.ratio) || {_IS_ERRORS})",
    "latency": f"(has(self.latency) || has(self.preset) && !({_IS_ERRORS}))",
}
"""CEL for the kind of gate that a manifest asks for, by itself or by a preset."""


def _is_limit(text: str) -> str:
    return f"{text}.matches({cel(LIMIT_PATTERN)})"


def _fits(kind: str, text: str, field_path: str | None = None) -> dict[str, Any]:
    """A limit of this kind of gate has the form that the kind needs."""
    pattern, remedy = LIMITS_BY_KIND[kind]
    bare = f" || {text}{_NOT_BARE_DIFFERENCE}" if kind == "ratio" else ""
    return rule(
        f"!{_IS.get(kind, f'has(self.{kind})')} || !{_is_limit(text)}{bare} || {text}.matches({cel(pattern)})",
        remedy,
        field_path=field_path,
    )


def _factor(text: str) -> str:
    """CEL for the part of a limit that is multiplied with the baseline."""
    return f"{text}.contains('% of ') ? double({text}.split('%')[0]) / 100.0 : {text}.contains('baseline') ? 1.0 : 0.0"


def _offset(text: str) -> str:
    """CEL for the part of a limit of a ratio or a latency that is added."""
    points = f"{text}.split('baseline ')[1].replace('pp', '').replace(' ', '').replace('+', '')"
    return (
        f"{text}.endsWith('pp') ? double({points}) / 100.0 : {text}.contains('baseline') ? 0.0 : "
        f"{text}.endsWith('%') ? double({text}.replace('%', '')) / 100.0 : "
        f"{text}.endsWith('ms') ? double({text}.replace('ms', '')) / 1000.0 : double({text}.replace('s', ''))"
    )


def _both_fit(kind: str) -> str:
    """CEL for: the limit and `mustSee` are of this kind, and can be compared."""
    pattern = cel(LIMITS_BY_KIND[kind][0])
    return f"({_IS[kind]} && {_LIMIT}.matches({pattern}) && {_MUST_SEE}.matches({pattern}))"


_WHAT_IS_MEASURED: Final = (
    rule(
        "[has(self.preset), has(self.ratio), has(self.latency), has(self.drift), has(self.value), has(self.report)]"
        ".filter(x, x).size() == 1",
        "say what is measured: give exactly one of preset, ratio, latency, drift, value, report",
    ),
    rule(
        "has(self.preset) || has(self.atMost) != has(self.atLeast)",
        "say the limit: give exactly one of atMost, atLeast",
    ),
    rule(
        "!has(self.ratio) || has(self.labelsWithin) || !has(self.ratio.total) || "
        "(has(self.ratio.good) ? self.ratio.good : has(self.ratio.bad) ? self.ratio.bad : '')"
        ".split('{')[0] == self.ratio.total.split('{')[0]",
        "a ratio of two different events must say how late the second may come: give labelsWithin "
        "(99 % have arrived by then), or labelsWithin: 0s if both are counted at once",
    ),
)

_LIMITS: Final = (
    rule("!has(self.latency) || !has(self.atLeast)", "a latency has an upper limit: write atMost: 200ms"),
    rule(
        "!has(self.preset) || !has(self.atLeast)",
        "a preset counts what fails or how long it takes, so its limit is an upper one: write atMost, or leave the "
        "limit to the preset",
        field_path=".atLeast",
    ),
    rule(
        "!has(self.drift) || !has(self.atLeast)",
        'a drift has an upper limit, a distance: write atMost: "0.2"',
    ),
    _fits("ratio", _LIMIT),
    _fits("latency", _LIMIT, ".atMost"),
    _fits("drift", _LIMIT, ".atMost"),
    _fits("report", _LIMIT),
    rule(
        f"!{_IS['ratio']} || ![{_LIMIT}, {_MUST_SEE}].exists(t, t{_NOT_BARE_DIFFERENCE})",
        'a bare number in a difference of shares has two readings; for "baseline + 0.2" write "baseline + 0.2pp" '
        '(percentage points) or "baseline + 20pp" (a share of 0.2)',
    ),
    rule(
        "!has(self.ratio) || has(self.ratio.good) == has(self.ratio.bad) || "
        "has(self.atMost) == has(self.atLeast) || has(self.ratio.bad) == has(self.atMost)",
        "the limit points the wrong way: bad events take atMost, good events take atLeast",
    ),
    rule(
        f"!{_IS['ratio']} || [{_LIMIT}, {_MUST_SEE}]"
        ".all(t, t.matches('^[0-9.]+$') ? double(t) <= 1.0 : "
        "!t.matches('^[0-9.]+%$') || double(t.replace('%', '')) <= 100.0)",
        "the limit of a ratio is a share, at most 1 or 100%: write it like 5% or 0.05",
    ),
    rule(
        f"!has(self.drift) || !{_LIMIT}.matches({cel(LIMITS_BY_KIND['drift'][0])}) || double({_LIMIT}) > 0.0",
        'two samples of one distribution are a little apart too, so every candidate is beyond 0: write atMost: "0.2"',
        field_path=".atMost",
    ),
    rule(
        f"!has(self.drift) || self.drift.measure != 'ks' || !{_LIMIT}.matches({cel(LIMITS_BY_KIND['drift'][0])}) || "
        f"double({_LIMIT}) < 1.0",
        'the ks distance is never above 1, so this limit would never be broken: write atMost: "0.1"',
        field_path=".atMost",
    ),
)

_MUST_SEE_RULES: Final = (
    rule(
        "!has(self.mustSee) || !(has(self.drift) || has(self.value) || has(self.report))",
        "mustSee is for ratios and latencies: leave it out",
        field_path=".mustSee",
    ),
    _fits("ratio", _MUST_SEE, ".mustSee"),
    _fits("latency", _MUST_SEE, ".mustSee"),
    rule(
        f"has(self.atMost) == has(self.atLeast) || !({_both_fit('ratio')} || {_both_fit('latency')}) || "
        f"[[{_LIMIT}, {_MUST_SEE}].map(t, {_factor('t')}), [{_LIMIT}, {_MUST_SEE}].map(t, {_offset('t')})]"
        ".exists(p, has(self.atMost) ? p[1] > p[0] : p[1] < p[0])",
        "is not beyond the limit; name a candidate that is worse than the limit: above atMost, below atLeast",
        field_path=".mustSee",
    ),
)

_ONLY_FOR: Final = (
    rule(
        "!has(self.labelsWithin) || !(has(self.latency) || has(self.drift) || has(self.value) || has(self.report))",
        "labelsWithin is for ratios: leave it out",
        field_path=".labelsWithin",
    ),
    rule(
        "!has(self.labelsWithin) || !has(self.preset)",
        "labelsWithin is for a ratio of two events, and a preset's are counted at once: leave it out",
        field_path=".labelsWithin",
    ),
    rule(
        f"!has(self.quantile) || {_IS['latency']} && has(self.preset)",
        "quantile is for a preset that is a latency, like vllm/ttft: leave it out, or write it into latency",
        field_path=".quantile",
    ),
    rule(
        "!has(self.where) || has(self.preset)",
        'where is for a preset: write the label matchers into the selector itself, like requests_total{model="ranker"}',
        field_path=".where",
    ),
    rule(
        "!has(self.__for__) || "
        "!(has(self.preset) || has(self.ratio) || has(self.latency) || has(self.drift) || has(self.report))",
        "for is for a value, which has no statistics: leave it out (other gates know by their samples when they know)",
        field_path=".for",
    ),
    rule(
        "!has(self.value) || self.advanceOn != 'proven'",
        "a value is a plain threshold and proves nothing: leave advanceOn out",
        field_path=".advanceOn",
    ),
    rule(
        "!(has(self.value) || has(self.report)) || !has(self.identity) || self.identity.by == 'podName'",
        "identity finds the series of ratios, latencies and drifts: leave it out (a value's query names the revision "
        "itself, a report its version)",
        field_path=".identity",
    ),
)

_EFFECTS: Final = (
    rule(
        "!self.required || self.onUndecided == 'pause' || has(self.maxHold)",
        "onUndecided acts at the end of maxHold: give maxHold too, like 6h",
        field_path=".onUndecided",
    ),
    rule(
        "self.required || self.onUndecided == 'pause'",
        "a gate with required: false may stay undecided, so nothing follows from that: leave onUndecided out, or make "
        "the gate required",
        field_path=".onUndecided",
    ),
    rule(
        "self.onBreach == 'rollback' || self.onUndecided != 'rollback'",
        "a breach of this gate rolls nothing back, so not knowing must not either: use onUndecided: pause or advance",
        field_path=".onUndecided",
    ),
    rule(
        "self.required || !has(self.maxHold)",
        "a gate with required: false holds no step, so there is no end to that: leave maxHold out, or make the gate "
        "required",
        field_path=".maxHold",
    ),
    rule(
        "self.required || self.advanceOn != 'proven'",
        "a gate with required: false holds no step, so none waits for its proof: leave advanceOn out, or make the gate "
        "required",
        field_path=".advanceOn",
    ),
    rule(
        "self.onBreach != 'warn' || self.advanceOn != 'proven'",
        "a breach only warns, so no step can wait for the opposite: use onBreach: pause, or leave advanceOn out",
        field_path=".advanceOn",
    ),
)

GATE_RULES: Final = (*_WHAT_IS_MEASURED, *_LIMITS, *_MUST_SEE_RULES, *_ONLY_FOR, *_EFFECTS)
