"""The second half: nothing is ordered before the export is whole, and an interrupted run goes on with the order it signed."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from callwarden.centralclient import CentralClient
from callwarden.commands.central_erase import checked
from callwarden.contractend.check import missing
from callwarden.contractend.export import Said
from callwarden.contractend.folder import Taken
from callwarden.reading.files import new_file
from edge.errors import CallwardenError
from formats import canonical
from formats.keys import SigningKey
from formats.orders import read_order, sign_order

ORDER: Final = "order.json"
CERTIFICATE: Final = "certificate.json"
#: Between two looks at an order, seconds.
_LOOK_S: Final = 0.5


def ordered(folder: Path) -> dict[str, Any] | None:
    """The order an earlier run signed."""
    path = folder / ORDER
    if not path.exists():
        return None
    found: dict[str, Any] = json.loads(path.read_bytes())
    return found


def sign(
    client: CentralClient, folder: Path, taken: Sequence[Taken], keys: Sequence[SigningKey], **why: str | None
) -> None:
    """Draft the erasure of the policy, sign it, and file it in the folder before anybody gets it. why: reason, exported_to and
    perhaps case_ref. Raises export.uncovered when central knows of recordings that no export has."""
    policy = taken[0].policy
    calls, recordings = client.pages("/v1/calls", "calls"), client.pages("/v1/recordings", "recordings")
    if left := missing(policy, taken, calls, recordings):
        edges = ", ".join(sorted({edge for edge, _ in left}))
        raise CallwardenError(
            "export.uncovered", f"{len(left)} recording(s) were not taken out, at {edges}; the first is {left[0][1]}",
            hint="run this with --export-only on that edge's host, and put its folder beside the others", where=policy,
        )  # fmt: skip
    asked: dict[str, Any] = {"cmd": "erase", "target": {"kind": "policy", "id": policy}, "exclude": []}
    asked |= {"as_of": min(one.as_of for one in taken)} | {name: one for name, one in why.items() if one}
    claims = checked(client.post("/v1/orders/draft", asked)["claims"], asked)
    with new_file(folder / ORDER) as file:
        file.write(canonical.dumps(sign_order(claims, keys)))


def follow(client: CentralClient, document: dict[str, Any], end: float, said: Said) -> bool:
    """Hand the order in (again: it is one order) and look until every edge gave its last word, or the monotonic clock is at `end`.
    Raises command.refused when an edge refuses."""
    jti = read_order(document).jti
    answer = client.post("/v1/orders", {"order": document})
    before = ""
    while True:
        state = _progress(answer)
        if state != before:
            said(f"order {jti}: {state}")
        before = state
        refused = [r["result"] for r in answer["receipts"] if str(r["result"]).startswith("refused")]
        if refused:
            raise CallwardenError(
                "command.refused", f"an edge refuses: {', '.join(sorted(set(refused)))}", where=jti,
                hint=f"callwarden central receipts --jti {jti}",
            )  # fmt: skip
        if answer["complete"] or time.monotonic() >= end:
            return bool(answer["complete"])
        time.sleep(min(_LOOK_S, max(0.0, end - time.monotonic())))
        answer = client.get(f"/v1/orders/{jti}")


def _progress(answer: dict[str, Any]) -> str:
    last = {one["edge_id"]: one["result"] for one in sorted(answer["receipts"], key=lambda one: one["n"])}
    edges = sorted({str(one["edge_id"]) for one in answer["deliveries"]})
    return ", ".join(f"{one} {last.get(one, 'no answer yet')}" for one in edges)


def certify(client: CentralClient, folder: Path, jti: str, end: float) -> Path | None:
    """The certificate into the folder; None where it is not there by `end`: edges send their logs on a minute later, and one
    whose clock is ahead has signed a moment that has to come first."""
    path = folder / CERTIFICATE
    if path.exists():
        return path
    while True:
        try:
            document = client.get(f"/v1/certificates/{jti}")
            break
        except CallwardenError as error:
            if error.code not in ("certificate.pending", "certificate.early"):
                raise
        if time.monotonic() >= end:
            return None
        time.sleep(min(_LOOK_S, max(0.0, end - time.monotonic())))
    with new_file(path) as file:
        file.write(canonical.dumps(document))
    return path
