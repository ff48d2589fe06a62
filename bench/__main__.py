"""`python -m bench [calls|sealing|reading …]`: what `make bench` runs; without a name all of them, the quick ones first."""

from __future__ import annotations

import importlib
import sys

#: Each is a module with `main(arguments) -> exit code`.
ALL = ("sealing", "reading", "calls", "fleet")


def main(names: list[str]) -> int:
    """Run each; the first exit code that is not 0, or 0."""
    if unknown := [name for name in names if name not in ALL]:
        print(f"error: there is no bench {unknown[0]!r}; there are: {', '.join(ALL)}", file=sys.stderr)
        return 2
    codes = [importlib.import_module(f"bench.{name}").main([]) for name in names or ALL]
    return next((code for code in codes if code), 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
