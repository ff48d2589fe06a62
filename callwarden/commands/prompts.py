"""`callwarden prompts check`."""

from __future__ import annotations

from pathlib import Path

import click

from callwarden.options import as_json, config_path, edge_config


@click.group()
def prompts() -> None:
    """Check the prompts."""


@prompts.command()
@edge_config
@as_json
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Look at this folder of prompts instead of the configured one, and at no policy.",
)
def check(folder: Path | None, json_: bool) -> int:
    """Do the prompts fit the policies, do they sound right, do their hashes hold; exit 3 when not."""
    import tempfile

    from callwarden.output import note, plain, print_json, print_table
    from edge.config import load
    from edge.errors import Exit
    from edge.prompts.catalogue import Catalogue
    from edge.prompts.check import check_audio, check_policies

    config = None if folder else load(config_path())
    source = folder or (config.edge.prompts if config else Path())
    # The daemon's own cache is the daemon's to write; this look takes a copy of its own and leaves nothing behind.
    with tempfile.TemporaryDirectory(prefix="callwarden-prompts-") as cache:
        Path(cache).chmod(0o755)
        catalogue = Catalogue.load(source, Path(cache))
        found = check_audio(catalogue) + (check_policies(config, catalogue) if config else [])
        known = catalogue.all
    bad = [f for f in found if f.severity == "error"]
    if json_:
        print_json(
            {
                "ok": not bad,
                "prompts": [
                    {"id": p.id, "language": p.language, "version": p.version, "duration_ms": p.duration_ms}
                    for p in known
                ],
                "findings": [
                    {"severity": f.severity, "code": f.code, "message": f.message, "hint": f.hint} for f in found
                ],
            }
        )
        return int(Exit.CONFIG if bad else Exit.DONE)
    print_table(
        ("language", "id", "version", "seconds", "text"),
        ((p.language, p.id, p.version, f"{p.duration_ms / 1000:.1f}", p.text) for p in known),
        empty="no prompts",
    )
    for f in found:
        note(f"{f.severity}: {plain(f.message)} [{f.code}]\n  hint: {f.hint}")
    return int(Exit.CONFIG if bad else Exit.DONE)
