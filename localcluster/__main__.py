"""The command line: ``python -m localcluster build | exec | up``."""

import argparse
import sys

from localcluster import namespace
from localcluster.errors import LocalClusterError

_INTERRUPTED = 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m localcluster", description="A Kubernetes cluster on this machine.")
    commands = parser.add_subparsers(dest="verb", required=True, metavar="{build,exec,up}")
    commands.add_parser("build", help="find or build every program of the cluster")
    run = commands.add_parser("exec", help="run a command in a private namespace, where a cluster can be started")
    run.add_argument("--publish", action="store_true", help="make the cluster reachable on 127.0.0.1 from outside")
    run.add_argument("command", nargs=argparse.REMAINDER, metavar="-- COMMAND …")
    up = commands.add_parser("up", help="start a cluster and keep it until ^C")
    up.add_argument("--publish", action="store_true", help="make the cluster reachable on 127.0.0.1 from outside")
    commands.add_parser("serve")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run one verb and return the exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        return _run(parser, options)
    except LocalClusterError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("\nstopped; what was built so far stays\n" if options.verb == "build" else "\n")
        return _INTERRUPTED


def _run(parser: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    if options.verb == "build":
        from localcluster.building import build_everything

        build_everything()
        return 0
    if options.verb == "serve":
        from localcluster.serve import serve

        return serve()
    if options.verb == "up":
        return namespace.run([sys.executable, "-m", "localcluster", "serve"], published=options.publish)
    command = options.command[1:] if options.command[:1] == ["--"] else options.command
    if not command:
        parser.error("exec needs a command: python -m localcluster exec -- COMMAND …")
    return namespace.run(command, published=options.publish)


if __name__ == "__main__":
    sys.exit(main())
