"""`callwarden config check|ordered`."""

from __future__ import annotations

import click

from callwarden.options import as_json, config_path, edge_config


@click.group()
def config() -> None:
    """Check the configuration; see what orders put in the place of it."""


@config.command()
@edge_config
@as_json
def check(json_: bool) -> int:
    """Read the configuration and look at everything it names; exit 3 when something must be mended."""
    from callwarden.ordered import note_ordered
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
    note_ordered()
    return int(Exit.CONFIG if bad else Exit.DONE)


@config.command()
@click.option("--keyset", is_flag=True, help="Print the pinned keys as a key set document, for --trust.")
@edge_config
@as_json
def ordered(keyset: bool, json_: bool) -> None:
    """Show which policies and pinned keys are in force by orders of central: they win over the files' own.

    A policy that waits counts from the time shown on; any pinned key can cancel its order until then.
    """
    from callwarden.door import open_door
    from callwarden.output import note, print_json, print_table

    with open_door(config_path()) as door:
        found = door.erasure("in-force", {})
    if keyset:
        print_json(found["keyset"])
        return
    if json_:
        print_json(found)
        return
    print_table(
        ("policy", "state", "from", "order"),
        (
            (
                one["policy"],
                one["state"] + (" (the file's own)" if one["files_own"] else ""),
                one["acts_at"],
                one["order"],
            )
            for one in found["policies"]
        ),
        empty="every policy is the files' own",
    )
    by = f"order {found['keys_by']}" if found["keys_by"] else "the trust file"
    print_table(
        ("role", "owner", "from", "until", "key"),
        ((k["role"], k["owner"], k["not_before"], k["retired"], k["kid"]) for k in found["keys"]),
        empty="no key is pinned",
    )
    note(f"pinned by {by}")
