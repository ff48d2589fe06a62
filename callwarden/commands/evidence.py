"""`callwarden evidence CALL`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from callwarden.options import as_json, config_path, edge_config, passphrase_file

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.argument("call", metavar="CALL")
@click.option(
    "--form",
    type=click.Choice(["receipt", "record", "vcon", "json"]),
    default="receipt",
    show_default=True,
    help="A text to read, an ISO/IEC TS 27560 record, a signed vCon, or the stored rows.",
)
@edge_config
@click.option("-o", "--output", type=_FILE, help="A file to make (0600) instead of printing.")
@click.option("--unsigned", is_flag=True, help="Of a vCon: as plain JSON, without the edge's signature.")
@click.option("--with-audio", is_flag=True, help="Of a vCon: decrypt its audio into it, in this process.")
@click.option("-i", "--identity", type=_FILE, help="With --with-audio: the age identity file that opens it.")
@passphrase_file
@click.option("--key", type=_FILE, help="With --with-audio: a key of yours to sign it with; the edge signs no audio.")
@click.option(
    "--purpose", default="", help="What it is read for: one that an answer grants, as for `callwarden export`."
)
@click.option("--case", default="", help="A word or a case number for the audit log.")
@as_json
def evidence(
    call: str,
    form: str,
    output: Path | None,
    unsigned: bool,
    with_audio: bool,
    identity: Path | None,
    key: Path | None,
    purpose: str,
    case: str,
    json_: bool,
) -> None:
    """Give out what is stored about a call's answer, in a form that others read.

    CALL is a call id, its first 6 digits or more, Asterisk's linked id, or a channel's uniqueid. There is evidence of
    every outcome, also of a no. Each giving out leaves an entry in the audit log.
    """
    if with_audio and (form != "vcon" or identity is None):
        raise click.UsageError("--with-audio goes with --form vcon and --identity FILE")
    if (identity or key) and not with_audio:
        raise click.UsageError("--identity and --key go with --with-audio")
    from callwarden.door import Reading, open_door
    from callwarden.output import json_text, note

    reading = Reading(purpose, case)
    with open_door(config_path()) as door:
        document = door.evidence(call, form, reading, signed=not (unsigned or with_audio))
        if with_audio:
            assert identity is not None
            document = _with_audio(door, document, reading, identity, None if unsigned else key)
    if form == "vcon" and "signatures" not in document:
        note("note: this vCon is not signed" + (" (--key FILE signs it)" if with_audio else ""))
    text = document["text"] if form == "receipt" and not json_ else json_text(document)
    _put(text, output)


def _put(text: str, output: Path | None) -> None:
    import os
    import sys

    if output is None:
        sys.stdout.write(text)
        return
    from callwarden.reading.files import new_file

    os.umask(0o077)
    with new_file(output) as file:
        file.write(text.encode("utf-8"))
    print(output)


def _with_audio(door: Any, document: Any, reading: Any, identity: Path, key: Path | None) -> Any:
    from dataclasses import replace

    from callwarden import keyfiles
    from callwarden.exporting import Export
    from callwarden.output import note, plain
    from edge.config import load
    from formats import canonical, vcon
    from formats.jws import sign_general

    identities = keyfiles.read_identities(identity)
    trust = keyfiles.read_trust(load(config_path()).edge.trust_file)
    bodies: dict[str, bytes] = {}
    wanted = [one["filename"].rpartition(".")[0].rpartition(".")[0] for one in document["dialog"] if "filename" in one]
    for recording in dict.fromkeys(wanted):
        export = Export(door, recording, trust, replace(reading, form="vcon"))
        bodies |= {f"{recording}.{number}.wav": audio for number, audio in export.spans(identities)}
        for warning in export.warnings:
            note(f"note: {plain(warning)}")
    full = vcon.with_audio(document, bodies)
    if key is None:
        return full
    signer = keyfiles.read_signing_key(key)
    return sign_general(canonical.dumps(full), [(signer, signer.kid)], vcon.TYP)
