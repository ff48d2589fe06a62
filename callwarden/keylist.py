"""Who can open what, put together from the configuration, the journal's counts and the trust file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from callwarden.door import open_door
from edge.config import EdgeConfig, KeysSection
from edge.config.keyfacts import ConfigKeys
from edge.config.recipients import check_recipients
from edge.errors import CallwardenError
from formats.age import parse_recipient
from formats.errors import FormatError
from formats.keyset import KeySet

Row = dict[str, Any]


def facts(path: Path, config: EdgeConfig) -> Row:
    """`Door.keys` of the edge configured at `path`; before its first start there is no journal, and nothing is stored."""
    try:
        with open_door(path) as door:
            found: Row = door.keys()
            return found
    except CallwardenError as error:
        if error.code != "daemon.unreachable" or config.edge.journal.exists():
            raise
    return {"edge_id": config.edge.id, "policies": dict(ConfigKeys(lambda: config).policies()), "segments": {}}


def document(told: Mapping[str, Any], known: KeysSection, trust: KeySet) -> Row:
    """What `key list --json` prints; `told`: see `facts`."""
    policies, segments = told["policies"], told["segments"]
    recovery = {one for row in policies.values() for one in recovery_of(row["recipients"], known)}
    presumed = not known.recovery

    def row(recipient: str) -> Row:
        return {
            **described(recipient),
            "name": known.names.get(recipient, ""),
            "recovery": recipient in recovery or recipient in known.recovery,
            "presumed": presumed and recipient in recovery,
            "retired": recipient in known.retired,
            "local": recipient == known.local,
        }

    everyone = dict.fromkeys(
        [*(one for p in policies.values() for one in p["recipients"]), *segments, *known.retired, *known.recovery]
    )
    return {
        "edge_id": told["edge_id"],
        "policies": [
            {
                "policy": name,
                "epochs": policy["epochs"],
                "months": policy["months"],
                "recipients": [row(one) for one in policy["recipients"]],
            }
            for name, policy in sorted(policies.items())
        ],
        "recipients": [
            row(one)
            | {"segments": segments.get(one, 0), "policies": sorted(n for n, p in policies.items() if one in p["recipients"])}
            for one in everyone
        ],
        "signing": [
            {
                "kid": one.kid, "role": one.role, "owner": one.owner, "edge_id": one.edge_id,
                "not_before": one.not_before, "retired": one.retired,
            }
            for one in trust.entries
        ],
    }  # fmt: skip


def recovery_of(recipients: list[str], known: KeysSection) -> list[str]:
    """The recovery keys among a policy's recipients; where none is named, the last of two or more is presumed to be it."""
    if known.recovery:
        return [one for one in recipients if one in known.recovery]
    return recipients[-1:] if len(recipients) > 1 else []


def described(recipient: str) -> Row:
    """A public key with what names it where space is short."""
    try:
        key = parse_recipient(recipient)
    except FormatError:
        return {"recipient": recipient, "fingerprint": "unknown", "kind": "unknown"}
    return {"recipient": recipient, "fingerprint": key.fingerprint, "kind": "hybrid" if key.post_quantum else "x25519"}


def named(text: str, recipients: list[str]) -> str:
    """The public key that `text` is, or the one of `recipients` whose fingerprint begins so (6 digits at least).

    Raises not_found.recipient, usage.ambiguous.
    """
    if check_recipients((text,)) is None:
        return text
    found = [
        one for one in recipients if text == one or (len(text) >= 6 and described(one)["fingerprint"].startswith(text))
    ]
    if not found:
        hint = "callwarden key list shows all, with their fingerprints"
        raise CallwardenError("not_found.recipient", "no such recipient", hint=hint, where=text[:80])
    if len(found) > 1:
        raise CallwardenError("usage.ambiguous", "several fingerprints begin so", hint="give more digits", where=text)
    return found[0]
