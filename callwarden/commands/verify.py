"""`callwarden verify [RECORDING]`."""

from __future__ import annotations

from pathlib import Path

import click

from callwarden.options import as_json, config_path, edge_config, passphrase_file


@click.command()
@click.argument("recording", metavar="[RECORDING]", required=False)
@edge_config
@click.option(
    "-i",
    "--identity",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Also open every plaintext with this age identity file; it is read by this process alone.",
)
@passphrase_file
@click.option(
    "--repair", is_flag=True, help="Mend what is safe, quarantine what is not, and take back what is explained."
)
@click.option("--anew", is_flag=True, help="Begin again, instead of going on where an interrupted run stopped.")
@click.option("--case", default="", help="A word or a case number for the audit log.")
@click.option(
    "--trust",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The key set to believe (default: the edge's trust file).",
)
@as_json
def verify(
    recording: str | None,
    identity: Path | None,
    repair: bool,
    anew: bool,
    case: str,
    trust: Path | None,
    json_: bool,
) -> None:
    """Hold what the journal says against what lies on the disk, both ways, and say what does not agree.

    Without keys: payloads by length, hash and running hash, manifests by their signature, headers by their shred keys,
    and what nobody owns: payloads, keys, captures. With --identity every plaintext is opened, too, which the audit log
    notes; that of a restricted recording is not. Exit 7 when something is wrong and stays so.
    """
    from dataclasses import asdict

    from callwarden import keyfiles
    from callwarden.door import open_door
    from callwarden.output import note, plain, print_json
    from callwarden.verifying import Verifier, sentence
    from edge.config import load
    from edge.errors import Exit

    identities = keyfiles.read_identities(identity) if identity else []
    keys = keyfiles.read_trust(trust or load(config_path()).edge.trust_file)
    with open_door(config_path()) as door:
        verifier = Verifier(door, keys, identities, case, repair, lambda line: note(plain(line)))
        verdict = verifier.one(recording) if recording else verifier.everything(anew=anew)
    if json_:
        print_json({"sound": not verdict.wrong, **asdict(verdict)})
    else:
        for finding in verdict.findings:
            print(plain(sentence(finding)))
        opened = f", {verdict.opened} opened" if identities else ""
        print(f"{verdict.before + verdict.recordings} recordings looked at{opened}: ", end="")
        wrong, mended = sum(f["wrong"] for f in verdict.findings), sum(not f["wrong"] for f in verdict.findings)
        print(f"{wrong} wrong, {mended} mended" if verdict.findings else "all is as it should be")
        if verdict.unopened:
            note(f"{len(verdict.unopened)} are sealed to other identities and were not opened")
        if verdict.restricted:
            note(
                f"{len(verdict.restricted)} are restricted and were not opened: files, hashes and manifests were looked at"
            )
        if verdict.keys_on_their_way:
            note(f"{verdict.keys_on_their_way} keys have no row yet: prompts are being played, or a start sweeps them")
    if verdict.wrong:
        raise click.exceptions.Exit(int(Exit.UNVERIFIED))
