"""What the API server's audit log says of the operator."""

from __future__ import annotations

import json
from collections import Counter

from localcluster import LocalCluster

USER = "system:serviceaccount:modelrollout-system:modelrollout"


class Audit:
    """Requests of the operator from a moment on; needs a cluster with ``Settings(audit_log=True)``."""

    def __init__(self, cluster: LocalCluster) -> None:
        assert cluster.audit_log is not None, "the cluster was started without an audit log"
        self._log = cluster.audit_log
        self._begin = self._log.stat().st_size

    def requests(self, namespace: str = "") -> Counter[str]:
        """Verb and resource of every request that was answered since, watches left out.

        With a namespace: those to others are left out, where rollouts of other tests live on for a while, and the
        lists that watches begin with.
        """
        found: Counter[str] = Counter()
        with self._log.open(encoding="utf-8") as log:
            log.seek(self._begin)
            for line in log:
                if not line.endswith("\n"):
                    break
                if USER not in line:
                    continue  # most lines are other people's, and parsing is what costs
                entry = json.loads(line)
                if entry["user"]["username"] == USER and entry["verb"] != "watch":
                    about = entry.get("objectRef") or {}
                    if namespace not in ("", about.get("namespace")):
                        continue
                    sub = "/" + about["subresource"] if "subresource" in about else ""
                    found[f"{entry['verb']} {about.get('resource', entry['requestURI'])}{sub}"] += 1
        return found
