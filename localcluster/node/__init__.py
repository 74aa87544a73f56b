"""A node without a container runtime: it runs the Pods bound to it as plain processes.

It is a stand-in for the kubelet, for tests and demos, and says so: there are no images, no cgroups, no
volumes and no init or sidecar containers. What it does, it does the way the kubelet does: the first
container's command runs with its environment, probes decide about readiness and restarts, crashes back off,
deletion runs preStop, SIGTERM, the grace period and SIGKILL, and the Pod's status tells all of it.

A pod's processes share the machine's one network, where each pod has an address of its own: a server must
listen on its pod's address (``$(POD_IP)`` from ``fieldRef: status.podIP``), not on 0.0.0.0.
A pod whose ServiceAccount token is mounted finds a kubeconfig with that token in ``KUBECONFIG`` instead.
"""
