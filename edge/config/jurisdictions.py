"""Reading the table of jurisdictions: the shipped one beside `edge.consent`, or the operator's own."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Final

from edge.consent.jurisdiction import Table, WrongTable, parse
from edge.errors import CallwardenError
from formats.tomlplaces import places

#: Package data, so that it is there wherever the program is.
SHIPPED: Final = Path(__file__).resolve().parent.parent / "consent" / "jurisdictions.toml"


def load_table(file: Path) -> Table:
    """Read it. Raises CallwardenError config.* with file, line and fix."""
    hint = f"copy {SHIPPED} and edit the copy"
    try:
        text = file.read_text(encoding="utf-8")
        return parse(text)
    except (OSError, UnicodeDecodeError) as e:
        why = getattr(e, "strerror", None) or e
        raise CallwardenError("config.jurisdictions", f"cannot be read: {why}", hint=hint, where=str(file)) from e
    except tomllib.TOMLDecodeError as e:
        at = re.search(r"\(at line (\d+)", str(e))
        place = f"{file}:{at[1]}" if at else str(file)
        raise CallwardenError("config.syntax", f"not TOML: {e}", hint=hint, where=place) from e
    except WrongTable as e:
        lines = places(text)
        line = next((lines[e.key[:n]] for n in range(len(e.key), 0, -1) if e.key[:n] in lines), None)
        place = f"{file}:{line}" if line else str(file)
        raise CallwardenError("config.jurisdictions", str(e), hint=e.hint, where=place) from e
