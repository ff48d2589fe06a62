"""A deletion certificate in words, for the person who asked for the deletion. Pure; it proves nothing: the document does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from callwarden.output import plain

_STATES = {
    "destroyed": "destroyed",
    "expires": "expires",
    "exported": "was given out",
    "unknown": "cannot be reached from here",
}
_LEVELS = (
    "0: everything on one host; one person could have made all of this up",
    "1: the DPO's key and the reading identities are on another device",
    "2: central is on another host",
    "3: an outside witness or time stamp",
)


def in_words(claims: Mapping[str, Any]) -> str:
    """The text, without what a terminal could take for commands."""
    lines = [
        "Deletion certificate",
        "",
        f"number          {claims['certificate_id']}",
        f"issued by       {claims['issuer']} at {claims['at']}",
        f"order           {claims['jti']} ({claims['target']['kind']})",
        f"reason          {claims['reason']}" + (f" (case {claims['case_ref']})" if claims["case_ref"] else ""),
        "signed by       " + (", ".join(f"{one['owner']} ({one['role']})" for one in claims["actors"]) or "nobody"),
        f"effective       {claims['effective_at']}",
        f"final           {claims['final_at']}",
        f"separation      {_LEVELS[claims['level']]}",
        "",
        f"Recordings destroyed: {len(claims['recordings'])}",
    ]
    for one in claims["recordings"]:
        lines.append(f"  {one['recording_id']} by {one['edge_id']} at {one['at']}, {len(one['key_ids'])} key(s)")
    for edge_id, calls in sorted(claims["calls"].items()):
        lines.append(f"Calls made anonymous by {edge_id}: {calls}")
    lines += ["", "Copies:"]
    for one in claims["copies"]:
        when = f" {one['at']}" if one["at"] else ""
        lines.append(f"  {one['place']}: {_STATES[one['state']]}{when} ({one['evidence']})")
    if claims.get("outstanding"):
        lines += [
            "",
            "Nothing is said about these edges, which have not answered. Unless all of them were revoked, this is INTERIM:",
        ]
        lines += [f"  {one['edge_id']} since {one['since']}" for one in claims["outstanding"]]
    if claims["failed"]:
        lines += ["", "Not done:"]
        lines += [f"  {one['edge_id']}: {one['result']} {one['reason'] or ''}".rstrip() for one in claims["failed"]]
    return "\n".join(plain(line) if line else "" for line in lines)
