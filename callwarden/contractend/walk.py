"""The walk, from the first export to the certificate, one policy after the other."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import click

from callwarden.centralclient import CentralClient
from callwarden.contractend import erase
from callwarden.contractend.check import verify
from callwarden.contractend.export import export
from callwarden.contractend.folder import Taken, named, places, signers
from callwarden.door import Reading, open_door
from callwarden.keyfiles import read_identities, read_trust
from callwarden.output import note, plain
from edge.config import load
from edge.errors import CallwardenError
from formats.orders import read_order


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The command's options."""

    config: Path
    folder: Path
    dpo_keys: tuple[Path, ...]
    reason: str | None
    case_ref: str | None
    exported_to: str | None
    identity: Path | None
    trust: Path | None
    export_only: bool
    no_export: bool
    wait: float
    yes: bool


def walk(client: CentralClient | None, policies: tuple[str, ...], asked: Asked) -> bool:
    """True when everything that was asked for is done. Raises CallwardenError."""
    os.umask(0o077)
    if not asked.export_only and not (asked.reason and asked.exported_to):
        raise CallwardenError("usage.reason", "an erasure needs --reason and --exported-to", where="contract-end")
    if not policies:
        assert client is not None
        policies = tuple(sorted({one["policy"] for one in client.get("/v1/policies")["policies"]}))
    done = [
        _one(client, named(policy, "policy"), asked) for policy in policies
    ]  # each goes on, whatever the others wait for
    return all(done)


def _one(client: CentralClient | None, policy: str, asked: Asked) -> bool:
    folder = asked.folder / policy
    keys, people = signers(asked.dpo_keys)
    document = erase.ordered(folder)
    if asked.export_only or document is None or not erase.submitted(_there(client), document):
        if not asked.no_export:
            trust = read_trust(asked.trust or load(asked.config).edge.trust_file)
            reading = Reading("", "contract-end")
            with open_door(asked.config) as door:
                export(door, policy, folder, trust, keys[0], reading, note)
        identities = read_identities(asked.identity) if asked.identity else []
        taken: list[Taken] = []
        for place in places(folder):
            found, opened = verify(place, policy, people, identities)
            taken.append(found)
            how = f"{opened} age files opened to their end" if identities else "hashes only: --identity opens them"
            note(f"verified: {found.edge_id}: {len(found.calls)} calls, {len(found.recordings)} recordings; {how}")
        if not taken:
            raise CallwardenError("not_found.export", "nothing was taken out yet", where=str(folder))
        if asked.export_only:
            return True
        known = erase.look(_there(client), taken)  # also where an order was signed, and never came to central
        if document is None:
            if not asked.yes:
                if not sys.stdin.isatty():
                    raise CallwardenError("usage.review", "somebody must agree", hint="answer, or give --yes")
                click.confirm(f'Erase everything under "{policy}" at every edge?', abort=True, err=True)
            why = (asked.reason or "", asked.exported_to or "", asked.case_ref)
            erase.sign(_there(client), folder, taken, known, keys, *why, note)
            document = erase.ordered(folder)
    assert document is not None
    client = _there(client)
    jti = read_order(document).jti
    note(f"until the edges' window is over: callwarden central cancel {jti}")
    end = time.monotonic() + asked.wait
    if not erase.follow(client, folder, document, end, note):
        note(f'"{plain(policy)}" is under way: run this again')
        return False
    certificate = erase.certify(client, folder, jti, end)
    if certificate is None:
        note("everything is erased; the certificate waits for the edges' logs: run this again in a minute")
        return False
    print(certificate)
    return True


def _there(client: CentralClient | None) -> CentralClient:
    assert client is not None, "only --export-only goes without central"
    return client
