"""The second half: nothing is ordered before the export is whole, and an interrupted run goes on with the order it signed."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from callwarden.centralclient import CentralClient
from callwarden.commands.central_erase import checked
from callwarden.contractend.check import Known, covered, vouched
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


def look(client: CentralClient, taken: Sequence[Taken]) -> Known:
    """What central knows, none of which speaks against erasing. Raises export.uncovered."""
    known = Known(
        client.pages("/v1/calls", "calls"), client.pages("/v1/recordings", "recordings"),
        client.get("/v1/policies")["policies"], client.pages("/v1/edges", "edges", by="edge_id", start=""),
    )  # fmt: skip
    covered(taken[0].policy, taken, known)
    return known


def submitted(client: CentralClient, document: dict[str, Any]) -> bool:
    """Whether central has the order."""
    try:
        client.get(f"/v1/orders/{read_order(document).jti}")
    except CallwardenError as error:
        if error.code != "not_found.order":
            raise
        return False
    return True


def sign(
    client: CentralClient, folder: Path, taken: Sequence[Taken], known: Known, keys: Sequence[SigningKey],
    reason: str, exported_to: str, case_ref: str | None, said: Said,
) -> None:  # fmt: skip
    """Draft the erasure of the policy, sign it, and file it in the folder before anybody gets it. exported_to: to whom everything
    went; it goes into the reason alone where the folder does not stand for every edge."""
    asked: dict[str, Any] = {"cmd": "erase", "target": {"kind": "policy", "id": taken[0].policy}, "exclude": []}
    asked |= {"as_of": min(one.as_of for one in taken), "reason": reason} | ({"case_ref": case_ref} if case_ref else {})
    drafted = client.post("/v1/orders/draft", asked)
    if vouched(drafted["edges"], taken, known):
        asked |= {"exported_to": exported_to}
    else:
        asked |= {"reason": f"{reason}; handed over to: {exported_to}"}
        away = sorted({*drafted["edges"]} - {one.edge_id for one in taken})
        said(f"edges refuse what they did not export themselves; no folder of: {', '.join(away) or 'none'}")
    drafted = client.post("/v1/orders/draft", asked)
    claims = checked(drafted["claims"], asked)
    with new_file(folder / ORDER) as file:
        file.write(canonical.dumps(sign_order(claims, keys)))


def follow(client: CentralClient, folder: Path, document: dict[str, Any], end: float, said: Said) -> bool:
    """Hand the order in (again: it is one order) and look until every edge gave its last word, or the monotonic clock is at `end`.
    Raises command.refused when an edge refuses, also because it was cancelled: the order is put aside then, and the next run
    signs another one."""
    jti = read_order(document).jti
    answer = client.post("/v1/orders", {"order": document})
    before = ""
    while True:
        state = _progress(answer)
        if state != before:
            said(f"order {jti}: {state}")
        before = state
        refused = [found for one in answer["receipts"] if (found := _refusal(one))]
        if refused:
            (folder / ORDER).rename(folder / f"order.{jti}.json")
            raise CallwardenError(
                "command.refused", f"an edge refuses: {', '.join(sorted(set(refused)))}; the order is now order.{jti}.json",
                hint=f"callwarden central receipts --jti {jti} says why; then run this again: it verifies, and signs a new order",
                where=jti,
            )  # fmt: skip
        if answer["complete"] or time.monotonic() >= end:
            return bool(answer["complete"])
        time.sleep(min(_LOOK_S, max(0.0, end - time.monotonic())))
        answer = client.get(f"/v1/orders/{jti}")


def _refusal(receipt: dict[str, Any]) -> str:
    """What an edge refuses with; "" where it does not. An order that was cancelled half way through is `done` for that half."""
    result = str(receipt["result"])
    claims = (receipt["document"] or {}).get("claims", {})
    if claims.get("evidence", {}).get("cancelled"):
        return "refused:command.cancelled"
    return result if result.startswith("refused") else ""


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
