"""etcd, the API server, the controller manager and the scheduler, with the flags that make them quick."""

from collections.abc import Mapping
from pathlib import Path

from localcluster import addresses
from localcluster.credentials import Credentials
from localcluster.process import Program

_AUDIT_POLICY = """\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules: [{level: Metadata}]
"""
# The controllers' clients are throttled to 20 requests a second by default; a rollout under test would wait.
_QUICK_CLIENT = ("--kube-api-qps=500", "--kube-api-burst=1000")


def etcd(binary: Path, folder: Path, environment: Mapping[str, str]) -> Program:
    """The store; its data live on a tmpfs, so syncing would only cost time."""
    client, peer = addresses.url(addresses.ETCD), addresses.url(addresses.ETCD_PEER)
    arguments = [
        str(binary),
        f"--data-dir={folder / 'etcd'}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
        "--unsafe-no-fsync",
        "--log-level=warn",
    ]
    return Program("etcd", arguments, folder / "logs" / "etcd.log", environment)


def apiserver(
    binary: Path, folder: Path, credentials: Credentials, environment: Mapping[str, str], *, audit: bool
) -> Program:
    """The API server, with RBAC, ServiceAccount admission and priority-and-fairness as in a real cluster."""
    host, port = addresses.APISERVER
    arguments = [
        str(binary),
        f"--etcd-servers={addresses.url(addresses.ETCD)}",
        f"--bind-address={host}",
        f"--advertise-address={host}",
        f"--secure-port={port}",
        f"--cert-dir={folder / 'certificates'}",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-signing-key-file={credentials.signing_key_file}",
        f"--service-account-key-file={credentials.signing_key_file}",
        f"--token-auth-file={credentials.token_file}",
        "--authorization-mode=RBAC",
        "--endpoint-reconciler-type=none",
        "--service-cluster-ip-range=10.100.0.0/16",
        "--kubelet-preferred-address-types=InternalIP",
        "--profiling=false",
        *(_audit_arguments(folder) if audit else ()),
    ]
    return Program("kube-apiserver", arguments, folder / "logs" / "kube-apiserver.log", environment)


def audit_log(folder: Path) -> Path:
    """Where the API server writes one JSON line per request when auditing is on."""
    return folder / "logs" / "audit.log"


def ca_file(folder: Path) -> Path:
    """The API server's self-made certificate, which carries the authority that signed it."""
    return folder / "certificates" / "apiserver.crt"


def controller_manager(
    binary: Path, folder: Path, kubeconfig: Path, credentials: Credentials, environment: Mapping[str, str]
) -> Program:
    """All controllers of a cluster without a cloud, alone and thus without leader election."""
    arguments = [
        str(binary),
        f"--kubeconfig={kubeconfig}",
        "--leader-elect=false",
        "--secure-port=0",
        f"--service-account-private-key-file={credentials.signing_key_file}",
        f"--root-ca-file={ca_file(folder)}",
        *_QUICK_CLIENT,
    ]
    return Program("kube-controller-manager", arguments, folder / "logs" / "kube-controller-manager.log", environment)


def scheduler(binary: Path, folder: Path, kubeconfig: Path, environment: Mapping[str, str]) -> Program:
    """The scheduler, alone and thus without leader election."""
    arguments = [
        str(binary),
        f"--kubeconfig={kubeconfig}",
        "--leader-elect=false",
        "--secure-port=0",
        *_QUICK_CLIENT,
    ]
    return Program("kube-scheduler", arguments, folder / "logs" / "kube-scheduler.log", environment)


def _audit_arguments(folder: Path) -> tuple[str, ...]:
    policy = folder / "audit-policy.yaml"
    policy.write_text(_AUDIT_POLICY, encoding="ascii")
    return (f"--audit-policy-file={policy}", f"--audit-log-path={audit_log(folder)}")
