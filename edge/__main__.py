"""`python -m edge CONFIG`: run the daemon. The command `callwarden run` does the same with friendlier words."""

from __future__ import annotations

import sys
from pathlib import Path

from edge.errors import CallwardenError, Exit


def main() -> int:
    """Exit code of the daemon."""
    if len(sys.argv) != 2:
        print("usage: python -m edge /path/to/edge.toml", file=sys.stderr)
        return Exit.USAGE
    from edge.app import run

    try:
        run(Path(sys.argv[1]))
    except CallwardenError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return Exit.DONE


if __name__ == "__main__":
    sys.exit(main())
