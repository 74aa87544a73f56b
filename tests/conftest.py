"""The local cluster and the operator, once per session, and a namespace of its own for each test."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from localcluster import LocalCluster, LocalClusterError, Settings, eventually
from localcluster.namespace import inside

if TYPE_CHECKING:
    from tests.support.operator import Operator


@pytest.hookimpl(tryfirst=True)  # pytest-xdist reads the groups in the same hook, and otherwise before they are there
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that write statuses themselves come before the operator is started for the others.

    Side by side (pytest-xdist, each worker with a cluster of its own) a file stays whole, because its tests share what
    they started; and those without the operator go first, before any worker has one.
    """
    items.sort(key=_needs_operator)
    for item in items:
        item.add_marker(pytest.mark.xdist_group(f"{item.path.stem}-{_needs_operator(item)}"))


def _needs_operator(item: pytest.Item) -> bool:
    return "operator" in getattr(item, "fixturenames", ())


@pytest.fixture(scope="session")
def cluster(request: pytest.FixtureRequest) -> Iterator[LocalCluster]:
    """A running cluster; starting it takes about ten seconds."""
    if not inside():
        pytest.fail(
            "these tests need the local cluster's private namespace: "
            "run them through `make test` or `python -m localcluster exec -- pytest`",
            pytrace=False,
        )
    capture = request.config.pluginmanager.getplugin("capturemanager")

    def show(line: str) -> None:
        with capture.global_and_fixture_disabled():
            print(f"  cluster: {line}", flush=True)

    try:
        with LocalCluster.start(settings=Settings(audit_log=True), progress=show) as running:
            yield running
    except LocalClusterError as error:
        pytest.fail(str(error), pytrace=False)


@pytest.fixture
def namespace(cluster: LocalCluster) -> Iterator[str]:
    """A fresh namespace, ready for pods; it is deleted afterwards, without waiting."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    cluster.kubectl("create", "namespace", name)
    eventually(
        lambda: cluster.kubectl("get", "serviceaccount", "default", "-n", name, check=False).returncode == 0,
        f"the default ServiceAccount of namespace {name}",
    )
    yield name
    cluster.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture(scope="session")
def installed(cluster: LocalCluster) -> LocalCluster:
    """The cluster with the CRDs and the operator's ServiceAccount and roles."""
    from tests.support.operator import Operator

    Operator.install(cluster)
    return cluster


@pytest.fixture(scope="session")
def operator(installed: LocalCluster) -> Iterator[Operator]:
    """The operator, running with the rights of its own ServiceAccount."""
    from tests.support.operator import Operator

    running = Operator(installed)
    running.start()
    yield running
    running.kill()
