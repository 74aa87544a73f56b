"""What the operator says of itself, asked as Prometheus and kubelet ask."""

from __future__ import annotations

import socket
import urllib.error
import urllib.request

from prometheus_client.parser import text_string_to_metric_families

__all__ = ["Scraped", "free_port", "probe", "scrape"]

Sample = tuple[str, dict[str, str], float]


class Scraped:
    """The samples of one scrape."""

    def __init__(self, text: str) -> None:
        self._samples: list[Sample] = [
            (sample.name, sample.labels, sample.value)
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        ]

    def of(self, **labels: str) -> list[Sample]:
        """Every sample with these labels."""
        return [one for one in self._samples if labels.items() <= one[1].items()]

    def value(self, name: str, **labels: str) -> float:
        """The sum of the samples of this name with these labels; there is at least one."""
        found = [value for one, _, value in self.of(**labels) if one == name]
        assert found, f"there is no {name} with {labels}"
        return sum(found)


def free_port() -> int:
    """A port of this machine that nobody uses."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def scrape(port: int) -> Scraped:
    """One scrape."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
        return Scraped(answer.read().decode())


def probe(port: int, path: str, timeout: float = 10.0) -> int:
    """The HTTP status of a probe; 0 when there is no answer in time."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=timeout) as answer:
            status: int = answer.status
            return status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0
