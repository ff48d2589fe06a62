"""`callwarden config check`."""

from __future__ import annotations

import click

from callwarden.options import as_json, config_path, edge_config


@click.group()
def config() -> None:
    """Check the configuration."""


@config.command()
@edge_config
@as_json
def check(json_: bool) -> int:
    """Read the configuration and look at everything it names; exit 3 when something must be mended."""
    from callwarden.output import note, print_json
    from edge.config import check as look
    from edge.config import load
    from edge.errors import Exit

    loaded = load(config_path())
    findings = look(loaded)
    bad = [f for f in findings if f.severity == "error"]
    if json_:
        keys = ("severity", "code", "message", "hint", "where")
        print_json({"ok": not bad, "findings": [{k: getattr(f, k) for k in keys} for f in findings]})
    else:
        for f in findings:
            note(f"{f.severity}: {f.where}: {f.message} [{f.code}]" + (f"\n  hint: {f.hint}" if f.hint else ""))
        names = ", ".join(f"{p.name} ({p.mode})" for p in loaded.policies.values())
        print(f"{loaded.path}: {len(bad)} to mend, {len(findings) - len(bad)} to know; policies: {names or 'none'}")
    return int(Exit.CONFIG if bad else Exit.DONE)
