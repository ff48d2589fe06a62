"""`callwarden central set-policy|set-keys|release|rewrap`: orders that people sign and that bring something, or let something go."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from callwarden.centralclient import central_config, from_surroundings

_FILE = click.Path(path_type=Path, dir_okay=False, exists=True)
_KEY = click.Path(path_type=Path, dir_okay=False)
_reason = click.option("--reason", required=True, help="Why; goes into the order, the receipt and both logs.")
_case = click.option("--case", "case_ref", help="The case it belongs to.")
_dpo = click.option(
    "--dpo-key", type=_KEY, required=True, help="A DPO's secret key file. It signs here and never leaves this process."
)
_wait = click.option("--wait", default=30.0, show_default=True, type=click.FloatRange(0, 3600), help="Seconds to wait.")


@click.command()
@central_config
@click.argument("name", metavar="POLICY")
@click.argument("file", type=_FILE, required=False)
@click.option("--own", is_flag=True, help="Instead of a file: the edges' own table counts again.")
@click.option("--edge", "edges", metavar="ID", multiple=True, help="Only for this edge; repeat. Default: every edge.")
@_reason
@_case
@_dpo
@_wait
def set_policy(
    central_config: Path | None, name: str, file: Path | None, own: bool, edges: tuple[str, ...], reason: str,
    case_ref: str | None, dpo_key: Path, wait: float,
) -> int:  # fmt: skip
    """Order edges to use the table [policy.NAME] in FILE in the place of their own.

    Each edge judges it as it judges its own files. What is surely tighter counts at once; whatever else after a day, with an
    alarm, and `callwarden central cancel` stops it until then. Exit 0: in force everywhere. 6: refused. 75: not yet everywhere.
    """
    from edge.errors import CallwardenError

    if (file is None) != own:
        raise CallwardenError("usage.policy", "name a file with the table, or say --own", where=name)
    content: dict[str, Any] = {"toml": file.read_text("utf-8") if file is not None else ""}
    if edges:
        content["edges"] = list(edges)
    return _ordered(central_config, "policy", ("policy", name), reason, case_ref, [dpo_key], wait, content)


@click.command()
@central_config
@click.argument("file", type=_FILE, required=False)
@_reason
@_case
@_dpo
@_wait
def set_keys(
    central_config: Path | None, file: Path | None, reason: str, case_ref: str | None, dpo_key: Path, wait: float
) -> int:
    """Order edges to pin the key set in FILE (default: the keys that central has now) instead of what they pin.

    Keys that are new count after a day, with an alarm at each edge, and `callwarden central cancel` stops them until then; keys
    that are not listed count no more at once. The last key of a role is replaced by two orders: both keys, and once the new one
    counts, without the old one. Edges keep their own keys. Exit codes as of set-policy.
    """
    from edge.errors import CallwardenError
    from formats import canonical
    from formats.errors import FormatError
    from formats.keyset import KeySet

    client = from_surroundings(central_config)
    try:
        data = file.read_bytes() if file is not None else canonical.dumps(client.get("/v1/keys"))
        keys = KeySet.of(one for one in KeySet.load(data).entries if one.role != "edge")
    except FormatError as error:
        raise CallwardenError(error.code, error.message, where=str(file or "central")) from error
    fleet = str(client.get("/v1/health")["fleet"])
    content = {"keyset": canonical.loads(keys.dump())}
    return _ordered(central_config, "keys", ("fleet", fleet), reason, case_ref, [dpo_key], wait, content)


@click.command()
@central_config
@click.argument("hold", metavar="HOLD")
@_reason
@_case
@click.option(
    "--key", "keys", type=_KEY, required=True, multiple=True, help="Two people's secret key files (DPO, auditor)."
)
@_wait
def release(
    central_config: Path | None, hold: str, reason: str, case_ref: str | None, keys: tuple[Path, ...], wait: float
) -> int:
    """Order the hold or restriction HOLD (the number of the order that placed it) released. Two people sign, here.

    Exit 0: released. 5: no edge has it. 6: refused. 75: no answer yet; the order holds for a day.
    """
    return _ordered(central_config, "release", ("hold", hold), reason, case_ref, list(keys), wait, {})


@click.command()
@central_config
@click.argument("recording", metavar="RECORDING")
@click.argument("file", type=_FILE)
@_reason
@_case
@_dpo
@_wait
def rewrap(
    central_config: Path | None,
    recording: str,
    file: Path,
    reason: str,
    case_ref: str | None,
    dpo_key: Path,
    wait: float,
) -> int:
    """Order the edge of RECORDING to take its further headers in FILE, which `callwarden key rewrap --out` made.

    It revokes nothing. Exit codes as of set-policy.
    """
    from edge.errors import CallwardenError

    try:
        headers = json.loads(file.read_text("utf-8"))["headers"][recording]
    except (ValueError, KeyError, TypeError) as error:
        hint = "callwarden key rewrap --out makes one"
        raise CallwardenError("usage.headers", "the file has no headers of it", hint=hint, where=str(file)) from error
    content = {"headers": headers}
    return _ordered(central_config, "rewrap", ("recording", recording), reason, case_ref, [dpo_key], wait, content)


def _ordered(
    central_config: Path | None, cmd: str, target: tuple[str, str], reason: str, case_ref: str | None, keys: list[Path],
    wait: float, content: dict[str, Any],
) -> int:  # fmt: skip
    """Draft, look, sign, submit, wait for every edge's first word; stdout has how far each is."""
    from callwarden.commands.central_carried import show_progress
    from callwarden.commands.central_erase import checked, wait_for_receipt
    from callwarden.keyfiles import read_signing_key
    from callwarden.output import note, plain
    from edge.errors import Exit
    from formats.orders import sign_order

    client = from_surroundings(central_config)
    signers = [read_signing_key(one) for one in keys]
    asked: dict[str, Any] = {"cmd": cmd, "target": {"kind": target[0], "id": target[1]}, "reason": reason}
    asked |= {name: one for name, one in (("case_ref", case_ref), ("content", content)) if one}
    claims = checked(client.post("/v1/orders/draft", asked)["claims"], asked)
    note(
        f"signing: {cmd} {target[0]} {plain(target[1])} of fleet {plain(claims.fleet)}, reason: {plain(claims.reason)}"
    )
    answer = wait_for_receipt(client, client.post("/v1/orders", {"order": sign_order(claims, signers)}), wait)
    rows = answer["progress"]
    show_progress(answer)
    note(f"look again: callwarden central orders {claims.jti}; stop it: callwarden central cancel {claims.jti}")
    results = [str(one["result"]) for one in rows]
    if any(one.startswith("refused") for one in results):
        return int(Exit.REFUSED)
    if results and all(one == "not_found" for one in results):
        return int(Exit.NOT_FOUND)
    return int(Exit.DONE if answer["complete"] else Exit.PENDING)
