"""Results of evaluations, read from the ConfigMaps that gates name."""

from __future__ import annotations

from modelrollout.api.gate import Gate
from modelrollout.api.objects import Rollout
from modelrollout.engine.model import GateMeasurement, Problem, ProblemKind
from modelrollout.kube.client import CONFIG_MAPS, Kube, KubeError, NotFound

__all__ = ["reports_of"]


async def reports_of(kube: Kube, rollout: Rollout, candidate: str) -> dict[str, GateMeasurement]:
    """What the gates on reports have to judge, by name; a report that is not there yet is a gate without data."""
    return {
        gate.name: await _read(kube, rollout, gate, candidate) for gate in rollout.spec.gates if gate.report is not None
    }


async def _read(kube: Kube, rollout: Rollout, gate: Gate, candidate: str) -> GateMeasurement:
    assert gate.report is not None
    name = gate.report.config_map.replace("{revision}", candidate).replace("{version}", rollout.spec.model.version)
    where = f"ConfigMap {name}, key {gate.report.key}"
    try:
        found = await kube.get(CONFIG_MAPS.path(rollout.namespace, name))
    except NotFound:
        return GateMeasurement(problem=Problem(ProblemKind.METRIC_MISSING, f"there is no {where} yet"), query=where)
    except KubeError as error:
        problem = Problem(ProblemKind.METRIC_MISSING, f"{where} cannot be read: {error}")
        return GateMeasurement(problem=problem, query=where)
    text = (found.get("data") or {}).get(gate.report.key)
    if text is None:
        has = ", ".join(sorted(found.get("data") or {})) or "none"
        problem = Problem(ProblemKind.MISCONFIGURED, f"{where}: there is no such key (its keys are: {has})")
        return GateMeasurement(problem=problem, query=where)
    return GateMeasurement(report=text, query=where)
