"""All presets at once against a real Prometheus that really scrapes what the servers export.

What the unit tests say of selectors, names and units is here said by PromQL: names with colons, names that Prometheus
might think otherwise of, labels that clash with those of the target.
"""

from __future__ import annotations

import asyncio
import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from modelrollout.api.gate import Gate
from modelrollout.api.presets.registry import GATEWAYS, PRESETS
from modelrollout.engine.evidence import Plan
from modelrollout.gates.evidence import Counts, Histogram
from modelrollout.metrics.base import Arm
from modelrollout.metrics.prometheus import Prometheus
from tests.support.exporters import Exporters, Pod, real_prometheus
from tests.support.expositions import FOLDER
from tests.unit.presets.test_presets import COUNTED

STEP = timedelta(seconds=2)
_GATEWAYS = {preset.name.partition("/")[0] for server in GATEWAYS for preset in server.presets}
_LATE = 1.0


@dataclass
class _Server(Pod):
    """A pod that exports what a server does, first before any request, then after all of them."""

    shown: str = ""

    def text(self) -> bytes:
        return self.shown.encode()


def _servers() -> list[tuple[_Server, str]]:
    """Every pod with what it will show. A model server's pod exports nothing before its first request; a gateway has
    served others."""
    found = []
    for path in sorted(FOLDER.glob("*.prom")):
        text = path.read_text(encoding="utf-8")
        if path.stem in _GATEWAYS:
            found.append(
                (_Server("ingress", path.stem, shown=re.sub(r"^([^#].*) \S+$", r"\1 0", text, flags=re.M)), text)
            )
            continue
        for number, revision in enumerate(("aaaaaaaaaa", "bbbbbbbbbb")):
            pod = f"ranker-{revision}-{path.stem[:8]}-abcd{number}"
            found.append((_Server("recs", pod), text))
    return found


async def test_detail_21_every_preset_is_counted_by_a_real_prometheus(tmp_path: Path) -> None:
    gates = [Gate.model_validate({"name": name.replace("/", "-"), "preset": name}) for name in sorted(PRESETS)]
    servers, exporters = _servers(), Exporters(tmp_path)
    exporters.start(*(pod for pod, _ in servers))
    born = {pod.name: datetime.now(UTC) for pod, _ in servers}
    arms = [Arm(revision, "recs", f"ranker-{revision}", 80, born) for revision in ("aaaaaaaaaa", "bbbbbbbbbb")]
    try:
        with real_prometheus(tmp_path / "prometheus", [exporters.job("pods")]) as url:
            provider = Prometheus.at(url)
            try:
                await _until_all_are_scraped(provider, len(servers))
                start = datetime.fromtimestamp(int(time.time()) + 1, UTC)
                await asyncio.sleep(start.timestamp() - time.time())
                for pod, text in servers:
                    pod.shown = text
                await asyncio.sleep((start + STEP).timestamp() + _LATE - time.time())
                plan = Plan({gate.name: start for gate in gates}, start + STEP, step=STEP, per_pod=frozenset())
                measured = await provider.measure(gates, plan, *arms)
            finally:
                await provider.close()
    finally:
        exporters.close()
    for name in sorted(PRESETS):
        found, expected = measured.gates[name.replace("/", "-")], COUNTED[name]
        assert found.problem is None, f"{name}: {found.problem}"
        (one,) = found.intervals
        if isinstance(expected, Counts):
            assert one.candidate == expected, name
            continue
        bound, within, total = expected
        assert isinstance(one.candidate, Histogram), name
        own = min(one.candidate.bounds, key=lambda each: abs(each - bound))
        assert own == pytest.approx(bound, rel=1e-5), name
        assert one.candidate.slower_than(own) == Counts(total - within, total), name


async def _until_all_are_scraped(provider: Prometheus, number: int) -> None:
    for _ in range(150):
        answer = await provider._client.instant("count(up == 1)", datetime.now(UTC))
        if answer.result and int(answer.result[0]["value"][1]) == number:
            return
        await asyncio.sleep(0.2)
    raise AssertionError("not every pod is scraped")
