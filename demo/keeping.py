"""After the story: leaving everything as it is, with the words to type."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from typing import Final

from demo.rendering import NAMESPACE, ROLLOUT, Rendering
from demo.screen import Screen
from demo.versions import FIRST, GOOD, SLOW, WORSE

__all__ = ["keep", "words"]

_TO_TYPE: Final = """\
In another terminal:

  export KUBECONFIG={kubeconfig}
  export PATH={programs}:$PATH

  kubectl get mro -n {namespace}
  kubectl modelrollout status {rollout} -n {namespace} --watch
  kubectl apply -f {folder}/v3-slow.yaml      # or v1, v2, v4-worse
  kubectl create -f {samples}/decision-undo.yaml      # back to the version before
"""


def words(kubeconfig: Path, folder: Path) -> str:
    """What to type, with the paths of this run."""
    programs = Path(sys.executable).parent
    samples = Path(__file__).resolve().parent.parent / "manifests" / "samples"
    return _TO_TYPE.format(
        kubeconfig=kubeconfig,
        programs=programs,
        namespace=NAMESPACE,
        rollout=ROLLOUT,
        folder=folder,
        samples=samples,
    )


def keep(kubeconfig: Path, rendering: Rendering, folder: Path, screen: Screen) -> None:
    """Write the manifests of every version, say what to type, and wait for ^C."""
    for version in (FIRST, GOOD, SLOW, WORSE):
        (folder / f"{version.name}.yaml").write_text(json.dumps(rendering.ranker(version), indent=2), encoding="utf-8")
    screen.heading("Everything is left running (KEEP). Stop it with ^C.")
    screen.say(words(kubeconfig, folder))
    try:
        signal.pause()
    except KeyboardInterrupt:
        screen.say("stopped")
