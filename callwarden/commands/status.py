"""`callwarden status`."""

from __future__ import annotations

from typing import Any

import click

from callwarden.options import as_json, config_path, edge_config


@click.command()
@edge_config
@as_json
def status(json_: bool) -> int:
    """Say whether this edge can record, and what is in its way.

    Exit 0: ready. Exit 8: the daemon runs but cannot record, the reasons are printed. Exit 4: it is not running.
    """
    from callwarden.door import open_door
    from callwarden.output import note, plain, print_json
    from edge.errors import Exit

    with open_door(config_path()) as door:
        facts = door.status()
    obstacles = _obstacles(facts["readiness"])
    running = bool(facts["readiness"])
    document = {"running": running, "ready": running and not obstacles, "obstacles": obstacles, **facts}
    if json_:
        print_json(document)
    else:
        print(f"edge {plain(facts['edge_id'])}: " + ("ready" if document["ready"] else "NOT ready to record"))
        for line in obstacles:
            print(f"  in the way: {plain(line)}")
        for key, value in _flat({k: v for k, v in facts.items() if k != "edge_id"}):
            print(f"  {key}: {plain(value)}")
    if not running:
        note("the daemon is not running; these facts are from its journal")
        return int(Exit.UNREACHABLE)
    return int(Exit.ENVIRONMENT if obstacles else Exit.DONE)


def _obstacles(readiness: dict[str, Any]) -> list[str]:
    """Why nothing may be recorded now, in the daemon's words."""
    if readiness.get("ready", True):
        return []
    return [str(readiness.get("reason") or "the daemon is not ready")]


def _flat(facts: dict[str, Any], prefix: str = "") -> list[tuple[str, object]]:
    lines: list[tuple[str, object]] = []
    for key, value in facts.items():
        if isinstance(value, dict):
            lines += _flat(value, f"{prefix}{key}.")
        elif isinstance(value, list):
            lines += [(f"{prefix}{key}", "; ".join(str(v) for v in value) or "none")]
        else:
            lines.append((f"{prefix}{key}", value))
    return lines
