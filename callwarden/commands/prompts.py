"""`callwarden prompts check`, `build` and `import`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from callwarden.options import as_json, config_path, edge_config

if TYPE_CHECKING:
    from edge.prompts.manifest import PromptEntry


@click.group()
def prompts() -> None:
    """Check, render and import the prompts."""


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


@prompts.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False, exists=True))
@click.option("--voice", required=True, metavar="ENGINE:VOICE", help="Who speaks, for example espeak:cs.")
@click.option(
    "--styles", type=click.Path(path_type=Path, file_okay=False), help="Folder with Kokoro's style vectors (*.bin)."
)
@as_json
def build(folder: Path, voice: str, styles: Path | None, json_: bool) -> int:
    """Render a language's FOLDER from its script.toml with a voice that is installed here (docs/prompts.md)."""
    from callwarden.output import print_json
    from edge.errors import Exit
    from edge.prompts.build import build as render
    from edge.prompts.voices import open_voice

    made = render(
        folder, open_voice(voice, styles=styles), done=lambda entry: None if json_ else _say(folder.name, entry)
    )
    if json_:
        print_json({"language": made.language, "prompts": [{"id": e.id, "sha256": e.sha256} for e in made.prompt]})
    return int(Exit.DONE)


def _say(language: str, entry: PromptEntry) -> None:
    mark = f", keys from {entry.answerable_from_ms} ms" if entry.answerable_from_ms else ""
    print(
        f"{language}/{entry.id}: {entry.duration_ms} ms{mark}, {entry.rms_db} dB, peak {entry.peak_db} dB", flush=True
    )
