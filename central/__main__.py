"""`python -m central run --config central.toml`, the way `callwarden central run` starts it."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from central.app import run
from central.errors import CentralError


def main() -> int:
    """Exit code 3 for a configuration error, 8 for the environment, as in docs/cli.md."""
    parser = argparse.ArgumentParser(prog="central")
    commands = parser.add_subparsers(dest="command", required=True)
    runner = commands.add_parser("run", help="serve until SIGTERM")
    runner.add_argument("--config", type=Path, required=True)
    arguments = parser.parse_args()
    try:
        run(arguments.config)
    except CentralError as error:
        print(f"error: {error}", file=sys.stderr)
        return 3 if error.code.startswith("config.") else 8
    return 0


if __name__ == "__main__":
    sys.exit(main())
