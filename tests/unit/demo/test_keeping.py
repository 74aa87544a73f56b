"""What a person is told to type after the story."""

from __future__ import annotations

from pathlib import Path

from demo import keeping


def test_every_file_that_is_named_exists_or_is_of_this_run() -> None:
    text = keeping.words(Path("/run/kubeconfig"), Path("/run/demo"))
    assert "export KUBECONFIG=/run/kubeconfig" in text
    assert "/run/demo/v3-slow.yaml" in text
    samples = [word for word in text.split() if "manifests/samples" in word]
    assert samples
    assert all(Path(sample).is_file() for sample in samples)
