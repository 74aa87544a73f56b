"""What a revision is, and what its objects are called.

A revision is the hash of what serves: the user-given fields of the model and of the pod template, as canonical JSON
(RFC 8785 in spirit: sorted keys, no spaces). Replicas, defaults added by the CRD and fields injected by others are not
part of it, so that upgrading the operator or scaling starts no rollout.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any, Final

__all__ = ["HASH_VERSION", "child_name", "is_hash", "revision_hash"]

HASH_VERSION: Final = 1
_LENGTH: Final = 10
_HASH: Final = re.compile(f"[0-9a-f]{{{_LENGTH}}}")


def revision_hash(spec: dict[str, Any]) -> str:
    """The revision named by the ``spec`` of a ModelRollout, as the API server stores it.

    Ten hexadecimal digits of SHA-256: among the few dozen revisions that one name ever has, two alike are as good as
    impossible (1 in 10⁹ at 50), so there is no second length for collisions.
    """
    model = {key: value for key, value in spec["model"].items() if value != ""}
    parts = {"model": model, "template": spec["workload"]["template"]}
    canonical = json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:_LENGTH]


def is_hash(text: str) -> bool:
    """Whether a text reads like a revision. Labels and names can be written by others: what does not read like one is
    none of ours, and nothing is done to it."""
    return _HASH.fullmatch(text) is not None


def child_name(rollout: str, revision: str) -> str:
    """Name of a revision's Deployment and Service."""
    return f"{rollout}-{revision}"
