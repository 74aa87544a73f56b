"""Every preset by its name, and the one place where a manifest's gate is made whole by one."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, Final

from modelrollout.api.presets.base import Preset, Server
from modelrollout.api.presets.bentoml import BENTOML
from modelrollout.api.presets.envoy import ENVOY
from modelrollout.api.presets.istio import ISTIO
from modelrollout.api.presets.kserve import KSERVE
from modelrollout.api.presets.rayserve import RAYSERVE
from modelrollout.api.presets.tfserving import TFSERVING
from modelrollout.api.presets.tgi import TGI
from modelrollout.api.presets.traefik import TRAEFIK
from modelrollout.api.presets.triton import TRITON
from modelrollout.api.presets.vllm import VLLM

__all__ = ["BORN_WITH_FIRST_EVENT", "GATEWAYS", "PRESETS", "SERVERS", "expanded"]

GATEWAYS: Final[tuple[Server, ...]] = (ENVOY, ISTIO, TRAEFIK)
SERVERS: Final[tuple[Server, ...]] = (VLLM, TRITON, KSERVE, TFSERVING, BENTOML, RAYSERVE, TGI)
PRESETS: Final[Mapping[str, Preset]] = {
    preset.name: preset for server in (*SERVERS, *GATEWAYS) for preset in server.presets
}
BORN_WITH_FIRST_EVENT: Final = frozenset(preset.bad.partition("{")[0] for preset in PRESETS.values() if preset.is_ratio)
"""Names of counters that these servers do not export before the first such event: that one is missing is no slip of
the pen."""

_OWN: Final = ("preset", "quantile", "where")
_MEASURED: Final = ("ratio", "latency", "drift", "value", "report")


def expanded(gate: Mapping[str, Any]) -> dict[str, Any]:
    """A gate of a manifest with what its preset says; a gate without a preset as it is. What the manifest says of
    limit, identity and everything else wins over the preset.

    Raises
    ------
    ValueError
        If there is no such preset, or the gate says by itself what is measured; the message names the remedy.
    """
    name = gate.get("preset")
    if name is None:
        if alone := next((field for field in ("quantile", "where") if gate.get(field) is not None), None):
            raise ValueError(f"{alone} is for a gate with a preset: leave it out, or write it into the selector")
        return dict(gate)
    preset = PRESETS.get(str(name))
    if preset is None:
        near = difflib.get_close_matches(str(name), PRESETS, n=3, cutoff=0.5)
        raise ValueError(f'preset: "{name}" is not known: there are {", ".join(near or sorted(PRESETS))}')
    if both := [kind for kind in _MEASURED if gate.get(kind) is not None]:
        raise ValueError(f"give exactly one of preset, ratio, latency, drift, value, report, not preset and {both[0]}")
    if preset.is_ratio and gate.get("quantile") is not None:
        raise ValueError(f"quantile is for latencies, and {preset.name} is a ratio: leave it out")
    if gate.get("labelsWithin") is not None:
        raise ValueError("labelsWithin is for a ratio of two events, and a preset's are counted at once: leave it out")
    found = {key: value for key, value in gate.items() if key not in _OWN and value is not None}
    found |= preset.measured(str(gate.get("where") or ""), gate.get("quantile"))
    if "atMost" not in found and "atLeast" not in found:
        found["atMost"] = preset.at_most
    if preset.identity and _by_pod(found.get("identity")):
        found["identity"] = dict(preset.identity)
    return found


def _by_pod(identity: Any) -> bool:
    """Whether the manifest leaves the identity to the preset. A gateway's series carry no pod of the revision's, so
    the default of the field, which the API server may have filled in, means no more than its absence."""
    return identity is None or (isinstance(identity, Mapping) and identity.get("by", "podName") == "podName")
