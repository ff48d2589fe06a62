"""`callwarden enrol`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from callwarden.options import as_json, config_path, edge_config

if TYPE_CHECKING:
    from edge.config import EdgeConfig
    from edge.sync.enrol import Enrolled


@click.command()
@edge_config
@click.option("--central-url", required=True, help="Address of the central to report to from now on.")
@click.option(
    "--enrol-token",
    required=True,
    envvar="CALLWARDEN_ENROL_TOKEN",
    help="One-time token of that central; also CALLWARDEN_ENROL_TOKEN.",
)
@as_json
def enrol(central_url: str, enrol_token: str, json_: bool) -> None:
    """Enrol this edge, which has its keys and its journal, at a central that is new to it.

    The edge believes that central's key set from then on: who may order what is in it, so read what is printed. The files
    it replaces (trust file, CA, TLS certificate) are kept beside as *.before. Afterwards restart the daemon and run `callwarden resend`.
    """
    import asyncio

    from callwarden import keyfiles
    from callwarden.output import note, plain, print_json
    from callwarden.setup.remote_central import compared
    from edge.config import load
    from edge.sync.enrol import enrol as ask

    config = load(config_path())
    key = keyfiles.read_signing_key(config.edge.signing_key_file)
    before = keyfiles.read_trust(config.edge.trust_file)
    answer = asyncio.run(ask(central_url, enrol_token, config.edge.id, key))
    written = _put(config, answer)
    _put_certificate(config, answer.tls_pem)
    ours = [one for one in answer.keyset.entries if one.role != "edge"]
    gone = [one for one in before.entries if one.kid not in {new.kid for new in answer.keyset.entries}]
    if json_:
        print_json(
            {
                "edge_id": config.edge.id,
                "fleet": answer.fleet,
                "written": [str(path) for path in written],
                "believed": [{"kid": one.kid, "role": one.role, "owner": one.owner} for one in ours],
                "code": answer.code,
                "state": answer.state,
                "no_longer": [{"kid": one.kid, "role": one.role, "owner": one.owner} for one in gone],
            }
        )
        return
    for path in written:
        print(f"written {path}")
    for one in ours:
        print(f"believed: {one.role} {plain(one.owner)} {one.kid}")
    for one in gone:
        print(f"no longer believed: {one.role} {plain(one.owner)} {one.kid}")
    if config.central.url.rstrip("/") != central_url.rstrip("/"):
        note(f'write in [central] of {config.path}: url = "{central_url}"')
    if answer.ca_pem and config.central.ca_file is None:
        note(f'and: ca_file = "{written[-1]}"')
    print(compared(answer))
    note("next: restart the daemon, then: callwarden resend")


def _put(config: EdgeConfig, answer: Enrolled) -> list[Path]:
    """Trust file and CA, each whole or as it was, the old one kept beside."""
    files = [(config.edge.trust_file, answer.keyset.dump())]
    if answer.ca_pem:
        files.append((config.central.ca_file or config.path.parent / "central-ca.pem", answer.ca_pem))
    for path, content in files:
        _replace(path, content)
    return [path for path, _ in files]


def _put_certificate(config: EdgeConfig, content: bytes | None) -> None:
    """Raises CallwardenError environment.file."""
    import os

    from edge.sync.tlskey import NAME, put_certificate

    folder = config.edge.state
    put_certificate(folder / NAME, content)
    owner = folder.stat()
    if content is not None and os.geteuid() == 0:
        os.chown(folder / NAME, owner.st_uid, owner.st_gid)


def _replace(path: Path, content: bytes) -> None:
    """Raises CallwardenError environment.file."""
    import os
    import stat

    from edge.durable import write_file
    from edge.errors import CallwardenError

    try:
        state = path.stat() if path.exists() else None
        mode = stat.S_IMODE(state.st_mode) if state else 0o644
        if state is not None:
            write_file(str(path.with_name(path.name + ".before")), path.read_bytes(), mode=mode)
        write_file(str(path), content, mode=mode)
        if state is not None and (state.st_uid, state.st_gid) != (os.geteuid(), os.getegid()):
            os.chown(path, state.st_uid, state.st_gid)
    except OSError as error:
        raise CallwardenError("environment.file", f"cannot be written: {error.strerror}", where=str(path)) from error
