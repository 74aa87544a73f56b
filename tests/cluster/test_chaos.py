"""The short campaign of faults: a dozen of the most telling trials, side by side; docs/chaos.md has the long one."""

from __future__ import annotations

import random
from pathlib import Path

from localcluster import LocalCluster
from tests.chaos.campaign import Campaign, Plan
from tests.chaos.table import as_table, summary


def test_rule_14_faults_change_nothing(installed: LocalCluster, tmp_path: Path) -> None:
    """Rule 14 on a real cluster: each fault was injected, no request is lost, and every release ends as it should."""
    seed = random.randrange(1_000_000)
    campaign = Campaign(installed, tmp_path, Plan(seed, short=True), tell=print)
    results = campaign.run()
    told = f"{as_table(results)}\n{summary(results, seed, 0.0)}"
    assert results, campaign.problems
    assert not campaign.problems, f"{campaign.problems}\n{told}"
    assert all(one.held for one in results), told
    assert all(sum(one.injected.values()) for one in results), f"a fault did nothing\n{told}"
