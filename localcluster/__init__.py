"""A Kubernetes cluster for demos and tests on one machine: no root, no container engine, nothing left behind.

etcd, the API server, the controller manager, the scheduler, Contour with Envoy and Prometheus are the real
programs; only the kubelet is replaced, by a process runner (:mod:`localcluster.node`). Everything lives in a
private Linux namespace (:mod:`localcluster.namespace`) that dies with the process that made it::

    python -m localcluster exec -- python -c '
    from localcluster import LocalCluster
    with LocalCluster.start(progress=print) as cluster:
        print(cluster.kubectl("get", "nodes").stdout)'
"""

from localcluster.cluster import GatewayRef, LocalCluster, Published
from localcluster.errors import LocalClusterError
from localcluster.stack import Settings
from localcluster.waiting import eventually

__all__ = ["GatewayRef", "LocalCluster", "LocalClusterError", "Published", "Settings", "eventually"]
