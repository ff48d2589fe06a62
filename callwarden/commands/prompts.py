"""`callwarden prompts check`, `build` and `import`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from callwarden.options import as_json, config_path, edge_config

if TYPE_CHECKING:
    from edge.prompts.manifest import PromptEntry
    from edge.prompts.script import Script


@click.group()
def prompts() -> None:
    """Check, render and import the prompts."""


@prompts.command()
@edge_config
@as_json
@click.argument("folder", required=False, type=click.Path(path_type=Path, file_okay=False, exists=True))
def check(folder: Path | None, json_: bool) -> int:
    """Do the prompts fit the policies, do they sound right, do their hashes hold; exit 3 when not.

    With FOLDER (of all languages) it looks at that one instead of the configured one, and at no policy.
    """
    import tempfile

    from callwarden.output import note, plain, print_json, print_table
    from edge.config import load
    from edge.errors import Exit
    from edge.prompts.catalogue import Catalogue
    from edge.prompts.check import check_audio, check_policies, check_scripts

    config = None if folder else load(config_path())
    source = folder or (config.edge.prompts if config else Path())
    # The daemon's own cache is the daemon's to write; this look takes a copy of its own and leaves nothing behind.
    with tempfile.TemporaryDirectory(prefix="callwarden-prompts-") as cache:
        Path(cache).chmod(0o755)
        catalogue = Catalogue.load(source, Path(cache))
        found = check_audio(catalogue) + check_scripts(catalogue)
        found += check_policies(config, catalogue) if config else []
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


@prompts.command(name="import")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False, exists=True))
@click.option("--language", required=True, metavar="LANG", help="Which language was recorded, for example cs.")
@click.option(
    "--into",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Your folder of prompts; LANG is made in it, prompts that were not recorded stay as they are.",
)
@click.option("--voice", required=True, metavar="NAME", help="Who spoke, for the manifest.")
@click.option("--licence", default="", metavar="TEXT", help="Under which licence the audio may be passed on.")
@as_json
def import_(folder: Path, language: str, into: Path, voice: str, licence: str, json_: bool) -> int:
    """Take studio recordings from FOLDER: ask.wav, or a file per sentence (ask.1.wav, ask.2.wav).

    WAV, FLAC and others at any rate. The words come from FOLDER/script.toml, or from the shipped script of LANG. Nothing
    is changed unless every recording is good.
    """
    from callwarden.output import note, print_json
    from edge.errors import Exit
    from edge.prompts.pack import write_script
    from edge.prompts.studio import find_takes, import_takes

    script, own = _script(folder, language)
    takes = find_takes(folder, script)
    counted = 0

    def done(entry: PromptEntry) -> None:
        nonlocal counted
        counted += 1
        if not json_:
            print(f"{counted} of {len(takes)}: ", end="")
            _say(language, entry)

    made = import_takes(takes, script, into / language, voice=voice, licence=licence, done=done)
    if own:
        write_script(into / language, script)
    if json_:
        print_json({"language": language, "prompts": [{"id": e.id, "sha256": e.sha256} for e in made.prompt]})
    there = {entry.id for entry in made.prompt}
    if missing := [p.id for p in script.prompt if p.id not in there]:
        note(f"not there yet: {', '.join(missing)}")
    return int(Exit.DONE)


def _script(folder: Path, language: str) -> tuple[Script, bool]:
    """The words that were recorded, and whether `folder` brought any of its own."""
    from callwarden.shipped import shipped
    from edge.consent.policy_rules import LANGUAGE
    from edge.errors import CallwardenError
    from edge.prompts.pack import read_script
    from edge.prompts.script import merged

    if not LANGUAGE.fullmatch(language):
        raise CallwardenError("usage.language", f"{language!r} is not a language", hint='for example "en" or "cs"')
    ours = shipped("prompts") / language
    known = read_script(ours) if (ours / "script.toml").exists() else None
    own = folder / "script.toml"
    if not own.exists():
        if known is None:
            hint = f"write what was said into {own}; docs/prompts.md shows how"
            raise CallwardenError(
                "prompt.script", f'there is no shipped script in "{language}"', hint=hint, where=str(own)
            )
        return known, False
    script = read_script(folder)
    if script.language != language:
        message = f'it is in "{script.language}", not "{language}"'
        raise CallwardenError("prompt.script", message, hint="correct its language, or --language", where=str(own))
    return merged(script, known), True


def _say(language: str, entry: PromptEntry) -> None:
    mark = f", keys from {entry.answerable_from_ms} ms" if entry.answerable_from_ms else ""
    print(
        f"{language}/{entry.id}: {entry.duration_ms} ms{mark}, {entry.rms_db} dB, peak {entry.peak_db} dB", flush=True
    )
