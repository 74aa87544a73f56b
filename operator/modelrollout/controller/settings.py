"""What the person who installs the operator decides."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from modelrollout.controller.endpoint import Address
from modelrollout.controller.lease import Timing
from modelrollout.kube.limits import BURST, QPS
from modelrollout.metrics.source_config import SourcesConfig
from modelrollout.notify.config import Config
from modelrollout.notify.links import LinkTemplate
from modelrollout.web.settings import WebSettings

__all__ = ["LeaseSettings", "Settings"]


@dataclass(frozen=True, slots=True)
class LeaseSettings:
    """How replicas agree on the one that decides."""

    wanted: bool = False
    """Without, this process decides, whoever else does."""
    namespace: str = ""
    name: str = ""
    identity: str = "one"
    """Name of this replica; a container that starts again in the same pod has the same."""
    timing: Timing = field(default_factory=Timing)


@dataclass(frozen=True, slots=True)
class Settings:
    """Given on the command line or by MODELROLLOUT_… in the environment."""

    sources: SourcesConfig
    """Where rollouts' metrics are."""
    kubeconfig: Path | None = None
    """None: the ServiceAccount of the pod."""
    namespace: str | None = None
    """None: every namespace."""
    metrics_delay: float = 0.5
    """Seconds in the past at which Prometheus is read, so that every scrape of that instant is in."""
    workers: int = 64
    """Rollouts that are looked at side by side when nothing presses; what is urgent begins at once."""
    kube_qps: float = QPS
    """Requests a second to the API server in the long run; what lowers a weight is not counted."""
    kube_burst: int = BURST
    """Requests at once after a rest."""
    metric_hosts: tuple[str, ...] = ()
    """Hosts (globs) that rollouts may name as their own Prometheus."""
    web: WebSettings | None = None
    """Where the web page listens; None: there is none."""
    receivers: Config = field(default_factory=Config)
    """Who is told of every rollout."""
    notify_hosts: tuple[str, ...] = ()
    """Hosts (globs) that rollouts' own notifications may call."""
    health: Address | None = None
    """Where the probes are answered; None: nowhere."""
    metrics: Address | None = None
    """Where the operator's own metrics are; None: nowhere."""
    metrics_rollouts: int = 2000
    """How many rollouts have series of their own there."""
    links: tuple[LinkTemplate, ...] = ()
    """Where to look further, for incidents and messages."""
    lease: LeaseSettings = field(default_factory=LeaseSettings)
    """Which replica decides."""
