"""The operator's command line says what is wrong with it, before anything starts."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from modelrollout.controller.__main__ import main


@pytest.mark.parametrize("option", ["--metrics", "--health"])
@pytest.mark.parametrize("text", ["8081", "http://0.0.0.0:8081/metrics"])
def test_an_address_that_is_none_is_refused_with_its_remedy(option: str, text: str) -> None:
    found = CliRunner().invoke(main, ["--prometheus-url", "http://prometheus:9090", option, text])
    assert found.exit_code == 2
    assert f"Invalid value for {option}" in found.output
    assert "write ADDRESS:PORT, like 0.0.0.0:8081" in " ".join(found.output.replace("│", " ").split())


def test_a_format_that_nobody_writes_is_refused() -> None:
    found = CliRunner().invoke(main, ["--prometheus-url", "http://prometheus:9090", "--log-format", "xml"])
    assert found.exit_code == 2
    assert "text" in found.output
    assert "json" in found.output
