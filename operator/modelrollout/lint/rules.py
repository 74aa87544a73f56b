"""The CRDs' rules (``x-kubernetes-validations``) without an API server.

Evaluated by a CEL interpreter with those functions of Kubernetes' own CEL library that our rules use.

Source: Kubernetes documentation, "Common Expression Language in Kubernetes", CEL options, language features and
libraries; keywords that are field names are escaped as it says there (``for`` becomes ``__for__``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from cel import Program

__all__ = ["broken_rules"]

_KEYWORDS: Final = frozenset(
    {
        "true",
        "false",
        "null",
        "in",
        "as",
        "break",
        "const",
        "continue",
        "else",
        "for",
        "function",
        "if",
        "import",
        "let",
        "loop",
        "package",
        "namespace",
        "return",
        "var",
        "void",
        "while",
    }
)


def broken_rules(value: Any, rules: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """The field below the value (empty for itself) and the message of each rule that does not hold.

    Rules about a change (``oldSelf``) say nothing about a manifest. A rule that cannot be evaluated is broken, as the
    API server has it.
    """
    asked = [rule for rule in rules if "oldSelf" not in rule["rule"]]
    if not asked:
        return
    variables = {"self": _escaped(value)}
    for rule in asked:
        if not _holds(rule["rule"], variables):
            yield rule.get("fieldPath", ""), rule["message"]


def _holds(expression: str, variables: Mapping[str, Any]) -> bool:
    from cel import Context

    try:
        return bool(_compiled(expression).execute(Context(variables=dict(variables), functions=_FUNCTIONS)))
    except (RuntimeError, TypeError, ValueError, LookupError):
        return False


@cache
def _compiled(expression: str) -> Program:
    from cel import compile as compiled

    return compiled(expression)


def _escaped(value: Any) -> Any:
    """The value with field names as CEL knows them."""
    if isinstance(value, dict):
        return {f"__{name}__" if name in _KEYWORDS else name: _escaped(one) for name, one in value.items()}
    return [_escaped(one) for one in value] if isinstance(value, list) else value


def _substring(text: str, start: int, end: int | None = None) -> str:
    return text[start:end]


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return bool(parts.scheme and parts.netloc) and parts.port != 0
    except ValueError:
        return False


_FUNCTIONS: Final[dict[str, Callable[..., Any]]] = {
    "getHostname": lambda url: urlsplit(url).hostname or "",
    "getScheme": lambda url: urlsplit(url).scheme,
    "isURL": _is_url,
    "isSorted": lambda items: list(items) == sorted(items),
    "replace": lambda text, old, new: text.replace(old, new),
    "split": lambda text, separator: text.split(separator),
    "substring": _substring,
    "sum": sum,
    "url": lambda text: text,
}
