"""`callwarden central …` and `receipt verify` against a real central process and a real edge key."""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

from callwarden.keyfiles import read_signing_key
from callwarden.receiptcheck import KEEPER_TYP, check_receipt
from central.config import load
from formats import canonical, checkpoint
from formats.errors import ReceiptError
from formats.ids import format_time
from formats.jws import sign_compact
from formats.keys import load_key
from formats.keyset import KeySet
from formats.orders import (
    Ground,
    OrderClaims,
    ReceiptClaims,
    Target,
    order_sha256,
    read_order,
    receipt_document,
    sign_order,
    sign_receipt,
)
from rig.ports import free_tcp_port
from tests.unit.cli import cli_makers as make
from tests.unit.cli.cli_makers import command

RECORDING = "ab" * 16


@dataclass
class Running:
    edge: make.Edge
    config: Path
    database: Path

    def run(self, *args: str | Path) -> make.Ran:
        return command("central", *args, CENTRAL_CONFIG=str(self.config))

    def erase(self, *more: str | Path) -> make.Ran:
        key = self.edge.paths["dpo_key"]
        return self.run("erase", "--recording", RECORDING, "--reason", "request of 3 May", "--dpo-key", key, *more)


@pytest.fixture
def central(tmp_path: Path, run_dir: Path) -> Iterator[Running]:
    """A central that runs and has heard of one recording of edge-1."""
    edge = make.make_edge(tmp_path / "etc", run_dir, "--central-listen", f"127.0.0.1:{free_tcp_port()}")
    config = load(edge.paths["central_config"])
    with sqlite3.connect(config.database) as conn:
        conn.execute(
            "INSERT INTO recording(recording_id, edge_id, state, first_seen) VALUES (?, 'edge-1', 'sealed', ?)",
            (RECORDING, make.AT),
        )
    process = subprocess.Popen(
        [sys.executable, "-m", "callwarden", "central", "run", "--central-config", str(edge.paths["central_config"])],
        cwd=make.ROOT, stderr=subprocess.PIPE,
    )  # fmt: skip
    end = time.monotonic() + 60
    while time.monotonic() < end:
        with socket.socket() as probe:
            if probe.connect_ex((config.host, config.port)) == 0:
                break
        assert process.poll() is None, process.stderr and process.stderr.read()
        time.sleep(0.05)
    yield Running(edge, edge.paths["central_config"], config.database)
    process.terminate()
    assert process.wait(60) == 0


def answer(
    central: Running, result: str, reason: str | None = None, *, told: str | None = None, **more: Any
) -> Callable[[], None]:
    """The edge's part: as soon as an order is there, sign a receipt for it and put it where central keeps receipts.

    told: what a lying central says of it. more: other claims.
    """

    def work() -> None:
        end = time.monotonic() + 60
        while time.monotonic() < end:
            with sqlite3.connect(central.database, timeout=60) as conn:
                row = conn.execute("SELECT jti, jws FROM orders WHERE jti NOT IN (SELECT jti FROM receipt)").fetchone()
                if row:
                    claims = _claims(row[0], row[1], result, reason, **more)
                    jws = sign_receipt(claims, central.edge.key)
                    conn.execute(
                        "INSERT INTO receipt(receipt_id, edge_id, jti, n, result, recording_id, jws, received_at)"
                        " VALUES (?, 'edge-1', ?, 0, ?, ?, ?, ?)",
                        (claims.receipt_id, row[0], told or result, RECORDING, jws, make.AT),
                    )
                    return
            time.sleep(0.05)

    thread = threading.Thread(target=work)
    thread.start()
    return thread.join


def _claims(order_id: str, order: str, result: str, reason: str | None, **other: Any) -> ReceiptClaims:
    from datetime import UTC, datetime

    given: dict[str, Any] = {
        "receipt_id": make.new_id(), "jti": order_id, "n": 0, "result": result, "edge_id": "edge-1",
        "at": format_time(datetime.now(UTC)), "order_sha256": order_sha256(order), "recording_id": RECORDING,
        "key_ids": ("cd" * 32,) if result == "done" else (), "slots": (7,) if result == "done" else (),
        "evidence": {"slots": "overwritten"}, "reason": reason,
    }  # fmt: skip
    return ReceiptClaims(**{**given, **other})


def test_erase_prints_a_receipt_that_verifies(central: Running, tmp_path: Path) -> None:
    join = answer(central, "done")
    done = central.erase("--trust", central.edge.paths["trust"])
    join()
    assert done.code == 0, done.err
    assert f"erased: recording {RECORDING}" in done.err
    file = tmp_path / "receipt.json"
    file.write_text(done.out)
    good = command("receipt", "verify", file, "--trust", central.edge.paths["trust"])
    assert good.code == 0, good.err
    assert "ordered by" in good.out
    assert "(dpo)" in good.out
    assert "(store)" in good.out
    listed = central.run("receipts", "--json").json
    assert [r["document"] for r in listed] == [done.json]
    for damage in _damages(done.json):
        file.write_text(json.dumps(damage))
        bad = command("receipt", "verify", file, "--trust", central.edge.paths["trust"])
        assert (bad.code, bad.out) == (7, ""), damage
        assert "receipt." in bad.err
    file.write_text("{")
    assert command("receipt", "verify", file, "--trust", central.edge.paths["trust"]).code == 7


def test_what_the_edge_signed_counts_not_what_central_says_of_it(central: Running) -> None:
    join = answer(central, "refused:hold", told="done")
    done = central.erase("--trust", central.edge.paths["trust"])
    join()
    assert done.code == 6, done.err


@pytest.mark.parametrize("other", [{"jti": "12" * 16}, {"recording_id": "34" * 16}])
def test_the_receipt_of_something_else_is_no_answer(central: Running, other: dict[str, str]) -> None:
    join = answer(central, "done", **other)
    done = central.erase()
    join()
    assert (done.code, done.out) == (7, "")
    assert "[receipt.order]" in done.err


def _damages(document: dict[str, Any]) -> list[dict[str, Any]]:
    head, payload, signature = document["jws"].split(".")
    other = "A" if signature[3] != "A" else "B"
    order = document["order"]
    return [
        {**document, "claims": {**document["claims"], "result": "already"}},
        {**document, "jws": f"{head}.{payload}.{signature[:3]}{other}{signature[4:]}"},
        {**document, "order": {**order, "signatures": order["signatures"][:1]}},
        {**document, "order": {**order, "signatures": [order["signatures"][0]] * 2}},
        {name: value for name, value in document.items() if name != "order"},
        {**document, "more": 1},
    ]


@pytest.mark.parametrize(
    ("result", "code", "word"),
    [
        ("already", 0, "erased before"),
        ("deferred", 6, "may not erase it yet (minimum retention)"),
        ("refused:hold", 6, "refused:hold"),
        ("not_found", 5, "has no recording"),
    ],
)
def test_every_answer_has_its_exit_code(central: Running, result: str, code: int, word: str) -> None:
    join = answer(central, result, "minimum retention" if result == "deferred" else None)
    done = central.erase()
    join()
    assert done.code == code, done.err
    assert word in done.err
    assert done.json["claims"]["result"] == result


def _statement(central: Running, **changes: Any) -> dict[str, Any]:
    """What the keeper signs with the store key."""
    key = load_key(load(central.config).store_key.read_bytes())
    claims = {"recording_id": RECORDING, "edge_id": "edge-1", "key_ids": ["cd" * 32], "result": "destroyed"} | changes
    return {"claims": claims, "jws": sign_compact(canonical.dumps(claims), key, key.kid, "callwarden-keeper+json")}


def test_what_lies_inside_a_receipt_is_held_to_as_well(central: Running, tmp_path: Path) -> None:
    claims = OrderClaims(
        iss="fleet", jti=make.new_id(), iat=make.AT, fleet="fleet", cmd="erase", as_of=make.AT, reason="x",
        target=Target("recording", RECORDING),
    )  # fmt: skip
    dpo = read_signing_key(central.edge.paths["dpo_key"])
    store = load_key(load(central.config).store_key.read_bytes())
    order = sign_order(claims, [dpo, store])
    edge = central.edge.key
    head = checkpoint.Checkpoint("callwarden/edge-1/" + "ab" * 16, 7, bytes(32)).note()
    foreign = checkpoint.Checkpoint("callwarden/edge-2/" + "ab" * 16, 7, bytes(32)).note()
    good = {"keeper_evidence": _statement(central), "checkpoint": str(head.sign(head.text.split("\n")[0], edge))}
    shown = _statement(central)
    shown["claims"] = shown["claims"] | {"result": "none"}
    by_the_edge = sign_compact(canonical.dumps(good["keeper_evidence"]["claims"]), edge, edge.kid, KEEPER_TYP)
    cases: list[tuple[dict[str, Any], str]] = [
        (good, ""),
        (good | {"keeper_evidence": None, "checkpoint": None}, ""),
        (good | {"keeper_evidence": {"result": "no central is configured"}}, ""),
        (good | {"keeper_evidence": _statement(central, recording_id="ef" * 16)}, "receipt.keeper"),
        (good | {"keeper_evidence": _statement(central, key_ids=["ee" * 32])}, "receipt.keeper"),
        (good | {"keeper_evidence": shown}, "receipt.keeper"),
        (good | {"keeper_evidence": good["keeper_evidence"] | {"jws": by_the_edge}}, "receipt.keeper"),
        (good | {"checkpoint": str(head.sign(head.text.split("\n")[0], store))}, "receipt.checkpoint"),
        (good | {"checkpoint": str(foreign.sign(foreign.text.split("\n")[0], edge))}, "receipt.checkpoint"),
        (good | {"checkpoint": "nonsense"}, "receipt.checkpoint"),
    ]
    trust = KeySet.load(central.edge.paths["trust"].read_bytes())
    trust = KeySet.of(msgspec.structs.replace(e, not_before=None) for e in trust.entries)
    for more, code in cases:
        jws = sign_receipt(_claims(claims.jti, canonical.dumps(order).decode(), "done", None, **more), edge)
        document = canonical.dumps(receipt_document(jws, order))
        if code:
            with pytest.raises(ReceiptError) as caught:
                check_receipt(document, trust)
            assert caught.value.code == code, more
        else:
            assert check_receipt(document, trust).proof.claims.result == "done"


def test_no_answer_yet(central: Running) -> None:
    done = central.erase("--wait", "0.5")
    assert done.code == 75
    assert f"central receipts --jti {done.json['jti']}" in done.err


def test_a_key_that_central_does_not_know(central: Running, tmp_path: Path) -> None:
    assert command("key", "new", "--kind", "dpo", "-o", tmp_path / "d.key").code == 0
    done = central.run("erase", "--recording", RECORDING, "--reason", "x", "--dpo-key", tmp_path / "d.key")
    assert (done.code, done.out) == (6, "")
    assert "auth." in done.err


def test_a_reading_identity_signs_nothing(central: Running) -> None:
    key = central.edge.paths["operator_identity"]
    done = central.run("erase", "--recording", RECORDING, "--reason", "x", "--dpo-key", key)
    assert done.code == 6
    assert "auth.key" in done.err


def test_an_unknown_recording(central: Running) -> None:
    key = central.edge.paths["dpo_key"]
    done = central.run("erase", "--recording", "0" * 32, "--reason", "x", "--dpo-key", key)
    assert (done.code, done.out) == (5, "")


def test_the_environment_names_central(central: Running) -> None:
    config = load(central.config)
    right = {"CENTRAL_URL": config.url, "CENTRAL_TOKEN": str(config.token), "CENTRAL_CA": str(config.ca)}
    assert command("central", "recordings", "--json", **right).json[0]["recording_id"] == RECORDING
    token = config.token.read_text().strip()
    assert command("central", "recordings", **right | {"CENTRAL_TOKEN": token}).code == 0
    wrong = command("central", "recordings", **right | {"CENTRAL_TOKEN": "x" * 43})
    assert (wrong.code, wrong.out) == (6, "")
    del right["CENTRAL_CA"]
    stranger = command("central", "recordings", **right)
    assert stranger.code == 4
    assert "CENTRAL_CA" in stranger.err


def test_an_edge_elsewhere_enrols_with_a_token(central: Running, tmp_path: Path, run_dir: Path) -> None:
    token = central.run("enrol-token", "--edge-id", "edge-2", "--json").json["token"]
    url = load(central.config).url
    done = command(
        "init", tmp_path / "two", "--edge-id", "edge-2", "--run-dir", run_dir / "two", "--group", str(os.getgid()),
        "--central-url", url, "--enrol-token", token, "--json",
    )  # fmt: skip
    assert done.code == 0, done.err
    trust = json.loads(Path(done.json["paths"]["trust"]).read_text())
    assert sorted(k["role"] for k in trust["keys"]) == ["dpo", "edge", "store", "witness"]
    assert Path(done.json["paths"]["central_ca"]).read_bytes() == load(central.config).ca.read_bytes()
    tls = Path(done.json["paths"]["tls"])
    left = tmp_path / "four" / tls.relative_to(tmp_path / "two")  # by an edge of another name
    left.parent.mkdir(mode=0o700, parents=True)
    left.write_bytes(tls.read_bytes())
    left.chmod(0o600)
    fourth = command(
        "init", tmp_path / "four", "--edge-id", "edge-4", "--run-dir", run_dir / "four", "--group", str(os.getgid()),
        "--central-url", url, "--enrol-token", central.run("enrol-token", "--json").json["token"],
    )  # fmt: skip
    assert fourth.code == 0, fourth.err
    assert b"CERTIFICATE" in left.read_bytes() != tls.read_bytes()
    third = command(
        "init", tmp_path / "three", "--edge-id", "edge-2", "--run-dir", run_dir / "three", "--group", str(os.getgid()),
        "--central-url", url, "--enrol-token", token,
    )  # fmt: skip
    assert third.code == 6
    assert "auth.enrolment" in third.err


def test_a_second_dpo_is_registered(central: Running, tmp_path: Path) -> None:
    (tmp_path / "d.jwk").write_text(command("key", "new", "--kind", "dpo", "-o", tmp_path / "d.key").out)
    done = central.run("add-key", "--role", "dpo", "--owner", "Deputy", tmp_path / "d.jwk")
    assert done.code == 0, done.err
    later = central.run(
        "erase", "--recording", RECORDING, "--reason", "x", "--dpo-key", tmp_path / "d.key", "--wait", "0"
    )
    assert later.code == 75


def test_central_orders_about_a_call_without_a_persons_key(central: Running) -> None:
    call_id = "ca" * 16
    with sqlite3.connect(central.database) as conn:
        conn.execute("INSERT INTO call(call_id, edge_id, first_seen) VALUES (?, 'edge-1', ?)", (call_id, make.AT))
    asked = ("--call", call_id, "--reason", "the caller wrote")
    for cmd, result, code in (
        ("withdraw", "done", 0),
        ("pause", "refused:calls.not_live", 6),
        ("resume", "not_found", 5),
    ):
        join = answer(central, result, "it is so", recording_id=None, key_ids=(), slots=(), evidence={})
        done = central.run("order", cmd, *asked)
        join()
        assert done.code == code, done.err
        assert (done.json["claims"]["result"], read_order(done.json["order"]).cmd) == (result, cmd)
        assert f"{result} by edge edge-1: it is so" in done.err
    join = answer(central, "done", recording_id=RECORDING, key_ids=(), slots=(), evidence={"hold": "ab" * 16})
    done = central.run("order", "hold", "--recording", RECORDING, "--reason", "claim", "--case", "c-7")
    join()
    assert done.code == 0, done.err
    held = read_order(done.json["order"])
    assert (held.cmd, held.target.kind, held.target.id, held.case_ref) == ("hold", "recording", RECORDING, "c-7")
    assert central.run("order", "pause", *asked, "--wait", "0").code == 75
    assert central.run("order", "pause", "--call", "ff" * 16, *asked[2:]).code == 5
    assert central.run("order", "pause", "--call", "1001", *asked[2:]).code == 2
    assert central.run("order", "pause", "--recording", RECORDING, *asked[2:]).code == 2
    assert central.run("order", "hold", "--recording", RECORDING, *asked).code == 2


def test_the_receipt_of_another_order_about_a_call_is_no_answer(central: Running) -> None:
    call_id = "ca" * 16
    with sqlite3.connect(central.database) as conn:
        conn.execute("INSERT INTO call(call_id, edge_id, first_seen) VALUES (?, 'edge-1', ?)", (call_id, make.AT))
    join = answer(central, "done", jti="12" * 16, recording_id=None, key_ids=(), slots=(), evidence={})
    done = central.run("order", "withdraw", "--call", call_id, "--reason", "the caller wrote")
    join()
    assert (done.code, done.out) == (7, "")
    assert "[receipt.order]" in done.err


def test_a_receipt_that_stands_on_a_ground_is_told_as_one(central: Running, tmp_path: Path) -> None:
    ground = Ground(cause="withdrawal", call_id="ca" * 16, recording_id=RECORDING, event_seq=3)
    claims = _claims(ground.jti, "{}", "done", None, order_sha256=ground.sha256,
                     evidence={"read_back": True, "ground": msgspec.to_builtins(ground)})  # fmt: skip
    file = tmp_path / "receipt.json"
    file.write_bytes(canonical.dumps(receipt_document(sign_receipt(claims, central.edge.key), None)))
    trust = central.edge.paths["trust"]
    good = command("receipt", "verify", file, "--trust", trust)
    assert good.code == 0, good.err
    assert f"erase of recording {RECORDING}" in good.out
    assert f"nobody ordered it: withdrawal in call {'ca' * 16}" in good.out
    told = command("receipt", "verify", file, "--trust", trust, "--json").json
    assert (told["order"], told["ordered_by"], told["ground"]["event_seq"]) == (None, [], 3)


def test_edges_are_listed_shown_and_revoked(central: Running) -> None:
    (row,) = central.run("edge", "list", "--json").json
    assert (row["edge_id"], row["state"], row["heartbeat"], row["alarms"]) == ("edge-1", "enrolled", None, {})
    assert central.run("edge", "list").out.splitlines()[1].startswith("edge-1\tenrolled\t")
    assert central.run("edge", "list", "--alarming").out.count("\n") == 1
    assert "kid: " in central.run("edge", "show", "edge-1").out
    assert "not_found.edge" in central.run("edge", "show", "edge-2").err
    assert "auth.enrolment_code" in central.run("edge", "approve", "edge-1", "--code", "0000-0000-0000").err
    done = central.run("edge", "revoke", "edge-1", "--reason", "sold")
    assert (done.code, "state: revoked" in done.out, "state_reason: sold" in done.out) == (0, True, True)


def test_a_search_says_what_it_could_not_look_at(central: Running) -> None:
    with sqlite3.connect(central.database) as conn:
        conn.execute("INSERT INTO call(call_id, edge_id, first_seen) VALUES (?, 'edge-1', ?)", ("cd" * 16, make.AT))
    asked = ("--purpose", "quality", "--reason", "a complaint")
    found = central.run("search", "+420 777 123 456", *asked)
    assert (found.code, found.out.count("\n")) == (0, 1), found.err  # the head of a table without rows
    assert "1 not searched: their number did not come to central" in found.err
    assert "central locate" in found.err
    answer = central.run("search", "777 123 456", "--country", "CZ", *asked, "--json").json
    none = {"no_number": 1, "gone": 0, "other_key": 0, "not_opened": 0}
    assert (answer["calls"], answer["not_searched"]) == ([], none)
    other = ("--policy", "another", "--policy", "further", "--direction", "outbound")
    answer = central.run("search", "777 123 456", "--country", "CZ", *asked, *other, "--json").json
    assert (answer["calls"], answer["not_searched"]) == ([], none)
    wrong = central.run("search", "1001", *asked)
    assert (wrong.code, "usage.number" in wrong.err) == (2, True), wrong.err
    assert central.run("search", "+420777123456", "--purpose", "quality").code == 2  # no reason


def test_the_search_key_is_shown_and_made_anew(central: Running) -> None:
    def keys(*more: str) -> list[str]:
        ran = command("central", "search-key", "--central-config", central.config, "--json", *more)
        assert ran.code == 0, ran.err
        found: list[str] = ran.json["keys"]
        return found

    [first] = keys()
    assert keys("--new")[0] == first
    assert len(keys()) == 2
    [last] = keys("--new", "--retire")
    assert last != first
    secret = (load(central.config).search_keys).read_text().strip()
    assert secret not in command("central", "search-key", "--central-config", central.config).out
    assert command("central", "search-key", "--central-config", central.config, "--retire").code == 2
