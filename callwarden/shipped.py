"""Where the things lie that come with the program but are not Python: the dialplan and the prompts."""

from __future__ import annotations

from pathlib import Path

from edge.errors import CallwardenError

#: A source tree first, then where a package puts them.
_PLACES = (Path(__file__).resolve().parent.parent, Path("/usr/share/callwarden"))


def shipped(*parts: str) -> Path:
    """The path of a shipped file or folder. Raises environment.missing."""
    for place in _PLACES:
        if (path := place.joinpath(*parts)).exists():
            return path
    name = "/".join(parts)
    raise CallwardenError(
        "environment.missing",
        f"{name} is not among the installed files",
        hint="install the package, or run from a source tree",
        where=" or ".join(str(p.joinpath(*parts)) for p in _PLACES),
    )
