"""``make demo``: set everything up, tell the story, and clean up; with KEEP=1 leave it running until ^C."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from demo import clusters, keeping, training
from demo.rendering import Rendering
from demo.screen import Screen
from demo.stage import StoryError, opened, prepare_environment
from demo.story import Story
from localcluster import LocalClusterError, namespace

__all__ = ["main"]

_INTERRUPTED: Final = 130
_INTRODUCTION: Final = """\
Users look for handwritten digits; a model ranks images for them, and they click what they like.
Four versions of the model are released, one after the other. The operator does not know which ones are good."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m demo", description="Four releases of a ranker, before your eyes.")
    parser.add_argument("--users-per-second", type=float, default=100.0, metavar="N", help="default: 100")
    clusters.add_arguments(parser)
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run the demo and return the exit code: 0 when everything went as the story says."""
    given = sys.argv[1:] if arguments is None else arguments
    options = _parser().parse_args(given)
    if options.cluster == "local" and not namespace.inside():
        return _inside_namespace(given)
    # A SIGTERM ends the blocks below as a ^C does, instead of ending this process where it stands.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    screen = Screen()
    try:
        with tempfile.TemporaryDirectory(prefix="modelrollout-demo-") as folder:
            return _play(screen, Path(folder), options)
    except KeyboardInterrupt:
        screen.say("stopped")
        return _INTERRUPTED
    except LocalClusterError as error:
        screen.say(f"error: {error}", "bold red")
        return 1


def _inside_namespace(arguments: list[str]) -> int:
    """Run this very demo where a local cluster can be started, reachable from the person's other terminals."""
    try:
        return namespace.run([sys.executable, "-m", "demo", *arguments], published=True)
    except LocalClusterError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1


def _play(screen: Screen, folder: Path, options: argparse.Namespace) -> int:
    begin = time.monotonic()
    prepare_environment()
    screen.say(_INTRODUCTION)
    screen.heading("Setting the stage")
    _train(screen, folder / "artifacts")
    with contextlib.ExitStack() as stack:
        cluster = stack.enter_context(clusters.opened(options, lambda line: screen.event(line, "dim")))
        rendering = Rendering(
            artifacts=folder / "artifacts",
            gateway_url=cluster.gateway_url,
            users_per_second=options.users_per_second,
            gateway=cluster.gateway,
            image=cluster.image,
        )
        stage = stack.enter_context(opened(cluster, rendering, folder, screen.event))
        try:
            Story(stage, screen).tell()
        except StoryError as error:
            screen.say(f"\nThis did not go as it should: {error}", "bold red")
            screen.say(stage.evidence())
            return 1
        screen.say(f"\nDone in {time.monotonic() - begin:.0f} s.")
        if os.environ.get("KEEP", "") not in ("", "0"):
            keeping.keep(cluster.published_kubeconfig, rendering, folder, screen)
    return 0


def _train(screen: Screen, folder: Path) -> None:
    begin = time.monotonic()
    trained = training.train(training.load_digits(), folder)
    screen.event(
        f"four models trained on handwritten digits in {time.monotonic() - begin:.1f} s; what their teams see:"
    )
    for name, accuracy in trained.offline_accuracy.items():
        screen.event(f"  {name:<9} accuracy offline {accuracy:.1%}")


if __name__ == "__main__":
    sys.exit(main())
