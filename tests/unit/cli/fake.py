"""A cluster in memory, with what the commands ask of the real one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from modelrollout.cli.cluster import DECISIONS, FREEZES, INCIDENTS, ROLLOUTS, Connection, Resource
from modelrollout.cli.errors import CliError

__all__ = ["FakeCluster"]


class FakeCluster:
    """Gives out versions of an object one after the other, and answers decisions at once."""

    namespace = "recs"

    def __init__(self, *versions: dict[str, Any], answer: dict[str, Any] | None = None) -> None:
        self.versions = list(versions)
        self.answer = answer
        self.created: list[dict[str, Any]] = []
        self.incidents: list[dict[str, Any]] = []
        self.asked: list[Connection] = []
        self.freezes: dict[str, dict[str, Any]] = {}
        self.failures: list[CliError] = []

    def connect(self, to: Connection) -> FakeCluster:
        """Take the place of ``Cluster.connect``."""
        self.asked.append(to)
        return self

    def rollout(self, name: str) -> dict[str, Any]:
        """The first version of the object."""
        if not self.versions or self.versions[0]["metadata"]["name"] != name:
            raise CliError(f'there is no ModelRollout "{name}"', "did you mean ranker?")
        return self.versions[0]

    def find(self, resource: Resource, *, everywhere: bool = False) -> list[dict[str, Any]]:
        """All ModelRollouts, all freezes, or all records."""
        if resource is FREEZES:
            assert everywhere, "freezes are in no namespace"
            return list(self.freezes.values())
        assert resource in (ROLLOUTS, INCIDENTS)
        return self.versions if resource is ROLLOUTS else self.incidents

    def deployments(self, name: str) -> list[dict[str, Any]] | None:
        """No pods."""
        return []

    def decisions(self, name: str) -> list[dict[str, Any]]:
        """What was created here."""
        return self.created

    def create_in_cluster(self, resource: Resource, body: dict[str, Any]) -> dict[str, Any]:
        """A freeze, with a name as the API server would give it."""
        assert resource is FREEZES
        metadata = {"name": body["metadata"].get("name", "freeze-x7k2p"), "creationTimestamp": "2026-11-21T12:00:00Z"}
        self.freezes[metadata["name"]] = body | {"metadata": metadata}
        return self.freezes[metadata["name"]]

    def delete_in_cluster(self, resource: Resource, name: str) -> None:
        """Lift a freeze."""
        del self.freezes[name]

    def whoami(self) -> str:
        """Always the same person."""
        return "alice"

    def create_decision(self, body: dict[str, Any]) -> dict[str, Any]:
        """Name it as the API server would."""
        made = body | {"metadata": body["metadata"] | {"name": body["metadata"]["generateName"] + "x7k2p"}}
        self.created.append(made)
        return made

    def follow(
        self, resource: Resource, *, fields: str = "", labels: str = "", seconds: float | None = None
    ) -> Iterator[list[dict[str, Any]]]:
        """Every version in turn, then the end as at a deletion or a timeout."""
        if resource is DECISIONS:
            yield self.created
            if self.answer is not None:
                yield [self.created[-1] | {"status": self.answer}]
        elif resource is ROLLOUTS:
            if self.failures:
                yield [self.versions[0]]
                raise self.failures.pop()
            for version in self.versions:
                yield [version]
            if seconds is None:
                yield []
