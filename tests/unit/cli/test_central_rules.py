"""`callwarden central set-policy|set-keys|release|orders|order-file|take-receipts|void` against a real central process."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

from formats.orders import read_order, sign_receipt
from tests.unit.cli.cli_makers import command
from tests.unit.cli.test_central_commands import RECORDING, Running, _claims, answer, central

__all__ = ["central"]

WHY = ("--reason", "the works council asked")


def last_order(central: Running) -> tuple[str, str]:
    with sqlite3.connect(central.database) as conn:
        jti, jws = conn.execute("SELECT jti, jws FROM orders ORDER BY at DESC LIMIT 1").fetchone()
    return str(jti), str(jws)


def test_a_policy_and_a_key_set_are_ordered_and_shown(central: Running, tmp_path: Path) -> None:
    key, table = central.edge.paths["dpo_key"], tmp_path / "sales.toml"
    table.write_text('[policy.sales]\nmode = "never"\n')
    join = answer(central, "done", recording_id=None, key_ids=(), slots=(), evidence={"version": "ab"})
    done = central.run("set-policy", "sales", table, *WHY, "--dpo-key", key)
    join()
    assert done.code == 0, done.err
    assert read_order(last_order(central)[1]).content == {"toml": table.read_text()}
    named = central.run("set-policy", "sales", "--own", "--edge", "edge-1", *WHY, "--dpo-key", key, "--wait", "0")
    assert named.code == 75, named.err
    assert read_order(last_order(central)[1]).content == {"toml": "", "edges": ["edge-1"]}
    assert central.run("set-policy", "sales", table, "--own", *WHY, "--dpo-key", key).code == 2
    keys = central.run("set-keys", *WHY, "--dpo-key", key, "--wait", "0")
    assert keys.code == 75, keys.err
    jti, order = last_order(central)
    assert {one["role"] for one in read_order(order).content["keyset"]["keys"]} == {"store", "witness", "dpo"}
    listed = central.run("orders", "--json")
    assert [(one["cmd"], one["missing"]) for one in listed.json] == [
        ("keys", ["edge-1"]), ("policy", ["edge-1"]), ("policy", []),
    ]  # fmt: skip
    assert "silent" in central.run("orders", jti).out
    voided = central.run("void", "edge-1", "2", "--reason", "stuck")
    assert voided.json == {"edge_id": "edge-1", "seq": 2, "again": 4}, voided.err


def test_a_hold_is_released_by_two_people(central: Running, tmp_path: Path) -> None:
    (tmp_path / "a.jwk").write_text(command("key", "new", "--kind", "dpo", "-o", tmp_path / "a.key").out)
    assert central.run("add-key", "--role", "auditor", "--owner", "Ann", tmp_path / "a.jwk").code == 0
    first, second = ("--key", central.edge.paths["dpo_key"]), ("--key", tmp_path / "a.key")
    assert central.run("release", "ab" * 16, *WHY, *first).code == 6, "one person is not enough"
    join = answer(central, "done", recording_id=None, key_ids=(), slots=(), evidence={"hold": "ab" * 16})
    done = central.run("release", "ab" * 16, *WHY, *first, *second)
    join()
    assert done.code == 0, done.err


def test_an_order_goes_and_its_receipt_comes_by_hand(central: Running, tmp_path: Path) -> None:
    assert central.erase("--wait", "0").code == 75
    jti, order = last_order(central)
    out = tmp_path / "order.json"
    assert central.run("order-file", jti, "--out", out).code == 0
    assert out.stat().st_mode & 0o777 == 0o600
    assert json.loads(out.read_text())["order"] == json.loads(order)
    back = tmp_path / "receipts.json"
    jws = sign_receipt(_claims(jti, order, "done", None), central.edge.key)
    back.write_text(json.dumps({"type": "callwarden-receipts-file/v1", "edge_id": "edge-1", "receipts": [jws]}))
    taken = central.run("take-receipts", back)
    assert (taken.code, taken.json["results"]) == (0, ["accepted"]), taken.err
    assert central.run("orders", jti, "--json").json["complete"] is True
    back.write_text(json.dumps({"edge_id": "edge-1", "receipts": [jws[:-4] + "AAAA"]}))
    assert central.run("take-receipts", back).code == 6
    back.write_text("{}")
    assert central.run("take-receipts", back).code == 2


def test_a_fetch_is_under_way_until_it_is_uploaded(central: Running) -> None:
    join = answer(central, "deferred", "as soon as it can be", recording_id=None, evidence={"wanted": [RECORDING]})
    done = central.run("order", "fetch", "--recording", RECORDING, *WHY)
    join()
    assert (done.code, done.json["claims"]["result"]) == (75, "deferred"), done.err
