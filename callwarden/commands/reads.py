"""`callwarden reads RECORDING`."""

from __future__ import annotations

from typing import Any

import click

from callwarden.options import as_json, edge_config

_DEEDS = {
    "recording.read": "key read",
    "recording.read_payload": "payload read",
    "recording.exported": "copy made",
    "recording.read_refused": "refused",
}


@click.command()
@click.argument("recording", metavar="RECORDING")
@edge_config
@as_json
def reads(recording: str, json_: bool) -> None:
    """List who read a recording, when and what for, and who was refused: what the audit log says of it.

    RECORDING is an id or its first 6 digits or more. Without its key a payload is no audio; both are listed, with the
    part that was asked for.
    """
    from callwarden.door import open_door
    from callwarden.options import config_path
    from callwarden.output import print_json, print_table

    with open_door(config_path()) as door:
        rows = door.reads(recording)
    if json_:
        print_json(rows)
        return
    print_table(
        ("at", "deed", "reader", "purpose", "case", "as", "segment", "part", "why"),
        (
            (
                r["at"],
                _DEEDS[r["kind"]],
                _name(r["uid"]),
                r["purpose"],
                r.get("case"),
                r.get("form"),
                r.get("segment"),
                _part(r),
                r.get("why"),
            )
            for r in rows
        ),
        empty="nobody has read it",
    )


def _name(uid: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _part(row: dict[str, Any]) -> str | None:
    if "from_ms" not in row:
        return None
    begin, end = row["from_ms"] / 1000, row["to_ms"] / 1000
    return f"{begin:.3f} s to " + (f"{end:.3f} s" if end else "the end")
