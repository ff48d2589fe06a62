"""`callwarden central check`."""

from __future__ import annotations

from pathlib import Path

import click

from callwarden.options import as_json, central_toml


@click.command()
@central_toml
@as_json
def check(central_config: Path, json_: bool) -> int:
    """Read central.toml and look at everything it names; exit 3 when something must be mended.

    Nothing is changed, and central may run meanwhile. Run it as central's user: what another user may read says nothing. No
    message and no letter is sent: `callwarden central webhook test` does that.
    """
    import asyncio
    from dataclasses import asdict
    from datetime import UTC, datetime

    from callwarden.output import note, plain, print_json
    from central.check import check as look
    from edge.errors import Exit

    findings = asyncio.run(look(central_config, datetime.now(UTC)))
    bad = sum(one.severity == "error" for one in findings)
    if json_:
        print_json({"ok": not bad, "findings": [asdict(one) for one in findings]})
    else:
        for one in findings:
            text = plain(f"{one.severity}: {one.where}: {one.message}")
            if one.severity == "fine":
                print(text)
            else:
                note(f"{text} [{one.code}]\n  hint: {plain(one.hint)}")
        soon = sum(one.severity == "warning" for one in findings)
        print(f"{central_config}: {bad} to mend, {soon} to know")
    return int(Exit.CONFIG if bad else Exit.DONE)
