"""Orders, deliveries and receipts: who may, when, and what a receipt proves."""

from __future__ import annotations

import copy
import json
from collections import Counter
from random import Random
from typing import Any

import msgspec
import pytest

from formats import canonical, orders
from formats.errors import FormatError, OrderError, ReceiptError, SignatureError
from formats.jws import sign_compact, sign_general
from formats.keys import SigningKey
from formats.keyset import KeySet, entry
from formats.orders import OrderClaims, ReceiptClaims, Target
from formats.orders.authority import AUTHORITY, COMMANDS, LIFE_S

STORE, DPO, DPO2, AUDITOR, EDGE, EDGE2, JANAS, JANA_AUDITS = (
    SigningKey.from_seed(bytes([n]) * 32) for n in range(1, 9)
)
KEYS = {
    "store": STORE,
    "dpo": DPO,
    "dpo2": DPO2,
    "auditor": AUDITOR,
    "edge": EDGE,
    "janas": JANAS,
    "jana-audits": JANA_AUDITS,
}
TRUST = KeySet.of(
    [
        entry(STORE.verify_key, "store", "central"),
        entry(DPO.verify_key, "dpo", "Jana"),
        entry(DPO2.verify_key, "dpo", "Karel"),
        entry(AUDITOR.verify_key, "auditor", "Eva"),
        entry(JANAS.verify_key, "dpo", "Jana"),
        entry(JANA_AUDITS.verify_key, "auditor", "Jana"),
        entry(EDGE.verify_key, "edge", "pbx-1", edge_id="pbx-1"),
        entry(EDGE2.verify_key, "edge", "pbx-2", edge_id="pbx-2"),
    ]
)
ISSUED, NOW, NEXT_DAY = "2026-03-01T10:00:00.000Z", "2026-03-01T10:00:30.000Z", "2026-03-02T10:00:00.001Z"
CLAIMS = OrderClaims(
    iss="Jana",
    jti="ab" * 16,
    iat=ISSUED,
    fleet="brno",
    cmd="erase",
    target=Target("recording", "cd" * 16),
    as_of=ISSUED,
    reason="erasure request",
    case_ref="2026-17",
)
ORDER = orders.sign_order(CLAIMS, [DPO, STORE])
DONE = ReceiptClaims(
    receipt_id="ef" * 16,
    jti=CLAIMS.jti,
    n=0,
    result="done",
    edge_id="pbx-1",
    at=NOW,
    order_sha256=orders.order_sha256(ORDER),
    recording_id=CLAIMS.target.id,
    key_ids=("0f" * 32,),
    slots=(3,),
    evidence={"slots_overwritten": 1, "read_back": True},
)


#: What commands bring that bring something, and their targets.
BRINGS: dict[str, dict[str, Any]] = {
    "policy": {"target": Target("policy", "sales"), "content": {"toml": '[policy.sales]\nmode = "never"\n'}},
    "keys": {
        "target": Target("fleet", "brno"),
        "content": {"keyset": json.loads(KeySet.of(one for one in TRUST.entries if one.role != "edge").dump())},
    },
    "rewrap": {"content": {"headers": [{"segment": 0, "statement": "a.b.c", "header": "AAAA"}]}},
}


def changed(**members: Any) -> OrderClaims:
    return msgspec.structs.replace(CLAIMS, **{**BRINGS.get(members.get("cmd", ""), {}), **members})


def test_an_order_signed_by_both() -> None:
    verified = orders.verify_order(ORDER, TRUST, now=NOW, fleet="brno")
    assert verified.claims == CLAIMS
    assert {one.role for one in verified.signers} == {"store", "dpo"}
    assert verified.sha256 == orders.order_sha256(json.dumps(ORDER, indent=2))
    assert orders.verify_order(json.dumps(ORDER), TRUST, now=NEXT_DAY).claims == CLAIMS


def test_central_countersigns_what_the_dpo_signed() -> None:
    first = orders.sign_order(CLAIMS, [DPO])
    assert orders.verify_order(first, TRUST, now=NOW, required=Counter({"dpo": 1})).claims == CLAIMS
    with pytest.raises(SignatureError):
        orders.verify_order(first, TRUST, now=NOW)
    assert orders.countersign_order(first, STORE) == ORDER


def test_every_command_has_an_authority_and_a_life() -> None:
    assert set(AUTHORITY) == set(LIFE_S) == COMMANDS
    assert all(demand.total() >= 1 for demands in AUTHORITY.values() for demand in demands)


@pytest.mark.parametrize(
    ("cmd", "signers", "allowed"),
    [
        ("erase", "dpo store", True),
        ("erase", "store", False),
        ("erase", "dpo", False),
        ("erase", "dpo dpo2", False),
        ("erase", "dpo dpo2 store", False),
        ("erase", "edge store", False),
        ("erase", "auditor store", False),
        ("withdraw", "store", True),
        ("withdraw", "dpo", False),
        ("withdraw", "dpo store", False),
        ("hold", "store", True),
        ("restrict", "store", True),
        ("pause", "store", True),
        ("resume", "store", True),
        ("release", "dpo dpo2", True),
        ("release", "dpo auditor", True),
        ("release", "dpo dpo", False),
        ("release", "dpo", False),
        ("release", "dpo janas", False),
        ("release", "dpo jana-audits", False),
        ("release", "dpo2 jana-audits", True),
        ("release", "dpo store", False),
        ("policy", "dpo store", True),
        ("policy", "store", False),
        ("rewrap", "dpo store", True),
        ("keys", "store", False),
        ("keys", "dpo store", True),
        ("fetch", "store", True),
        ("locate", "store", True),
    ],
)
def test_authority(cmd: Any, signers: str, allowed: bool) -> None:
    order = orders.sign_order(changed(cmd=cmd), [KEYS[name] for name in signers.split()])
    if allowed:
        assert orders.verify_order(order, TRUST, now=NOW).claims.cmd == cmd
    else:
        with pytest.raises(SignatureError) as caught:
            orders.verify_order(order, TRUST, now=NOW)
        assert caught.value.code == "auth.count"


@pytest.mark.parametrize(
    ("cmd", "members"),
    [
        ("policy", {"content": {}}),
        ("policy", {"content": {"toml": "", "and": 1}}),
        ("policy", {"content": {"toml": "", "edges": ["a", "a"]}}),
        ("policy", {"content": {"toml": "#" * 300_000}}),
        ("policy", {"target": Target("edge", "pbx-1")}),
        ("keys", {"target": Target("fleet", "praha")}),
        ("keys", {"content": {"keyset": json.loads(TRUST.dump())}}),
        ("keys", {"content": {"keyset": {"type": "callwarden-keyset/v1", "keys": [{}]}}}),
        ("rewrap", {"content": {"headers": []}}),
        ("rewrap", {"content": {"headers": BRINGS["rewrap"]["content"]["headers"] * 2}}),
        ("erase", {"content": {"toml": ""}}),
        ("fetch", {"content": {"toml": ""}}),
    ],
)
def test_what_an_order_brings_is_what_its_command_takes(cmd: str, members: dict[str, Any]) -> None:
    with pytest.raises(OrderError) as caught:
        orders.sign_order(changed(cmd=cmd, **members), [STORE])
    assert caught.value.code == "command.malformed"


def test_an_order_that_brings_nothing_has_the_bytes_it_always_had() -> None:
    assert b"content" not in orders.claims.encode(CLAIMS)
    brought = orders.verify_order(orders.sign_order(changed(cmd="policy"), [DPO, STORE]), TRUST, now=NOW).claims
    assert brought.content == BRINGS["policy"]["content"]


def test_stripped_and_doubled_signatures() -> None:
    for signatures in (ORDER["signatures"][:1], ORDER["signatures"][1:], [ORDER["signatures"][0]] * 2, []):
        with pytest.raises(SignatureError):
            orders.verify_order({**ORDER, "signatures": signatures}, TRUST, now=NOW)


def test_no_flipped_bit_of_a_valid_order_counts() -> None:
    """Ten thousand flips over orders of three kinds. What still verifies says the very same: base64url has a few spare bits."""
    random = Random(61)
    counted = 0
    for cmd in ("erase", "policy", "keys"):
        text = canonical.dumps(orders.sign_order(changed(cmd=cmd), [STORE, DPO]))
        meant = orders.verify_order(text, TRUST, now=NOW)
        for _ in range(3334):
            bent = bytearray(text)
            bent[random.randrange(len(bent))] ^= 1 << random.randrange(8)
            try:
                found = orders.verify_order(bytes(bent), TRUST, now=NOW)
            except FormatError:
                continue
            counted += 1
            assert found.claims == meant.claims
            assert found.signers == meant.signers
    assert counted < 10


@pytest.mark.parametrize(
    ("cmd", "now", "code"),
    [
        ("pause", "2026-03-01T10:01:00.000Z", None),
        ("pause", "2026-03-01T10:01:00.001Z", "command.expired"),
        ("withdraw", "2026-03-01T11:00:00.001Z", "command.expired"),
        ("fetch", NEXT_DAY, "command.expired"),
        ("hold", "2030-01-01T00:00:00.000Z", None),
        ("hold", "2026-03-01T09:55:00.000Z", None),
        ("hold", "2026-03-01T09:54:59.999Z", "command.future"),
    ],
)
def test_time(cmd: Any, now: str, code: str | None) -> None:
    order = orders.sign_order(changed(cmd=cmd), [STORE])
    if code is None:
        assert orders.verify_order(order, TRUST, now=now).claims.cmd == cmd
        return
    with pytest.raises(OrderError) as caught:
        orders.verify_order(order, TRUST, now=now)
    assert caught.value.code == code


def test_another_fleet() -> None:
    with pytest.raises(OrderError, match="fleet"):
        orders.verify_order(ORDER, TRUST, now=NOW, fleet="praha")


def test_a_key_counts_only_in_its_time() -> None:
    late = KeySet.of(
        [
            *[one for one in TRUST.entries if one.role != "dpo"],
            entry(DPO.verify_key, "dpo", "Jana", not_before="2026-03-02T00:00:00.000Z"),
        ]
    )
    with pytest.raises(SignatureError):
        orders.verify_order(ORDER, late, now=NOW)
    assert orders.verify_order(ORDER, late, now=NEXT_DAY).claims == CLAIMS


@pytest.mark.parametrize(
    "members",
    [
        {"jti": "x"},
        {"iat": "2026-03-01T10:00:00Z"},
        {"as_of": ""},
        {"reason": ""},
        {"fleet": ""},
        {"target": Target("recording", "all")},
        {"target": Target("person", "")},
        {"target": Target("person", "+420777123456")},
        {"target": Target("order", "ab" * 16)},
        {"cmd": "cancel"},
        {"exclude": ("xyz",)},
        {"exclude": ("ab" * 16, "ab" * 16)},
        {"exported_to": ""},
    ],
)
def test_malformed_claims_are_not_signed(members: dict[str, Any]) -> None:
    with pytest.raises(OrderError) as caught:
        orders.sign_order(changed(**members), [DPO])
    assert caught.value.code == "command.malformed"


@pytest.mark.parametrize("change", [{"cmd": "burn"}, {"extra": 1}, {"target": {"kind": "recording"}}, {"iat": 5}])
def test_malformed_claims_are_not_read(change: dict[str, Any]) -> None:
    claims = {**msgspec.to_builtins(CLAIMS), **change}
    payload = json.dumps(claims, sort_keys=True, separators=(",", ":")).encode()
    with pytest.raises(OrderError):
        orders.verify_order(
            sign_general(payload, [(DPO, DPO.kid), (STORE, STORE.kid)], orders.ORDER_TYP), TRUST, now=NOW
        )


def test_deliveries() -> None:
    jws = orders.sign_delivery(STORE, aud="pbx-1", seq=1, order=ORDER, exp=NEXT_DAY)
    claims = orders.verify_delivery(jws, TRUST, aud="pbx-1", now=NOW)
    assert claims.seq == 1
    assert claims.order is not None
    assert orders.verify_order(claims.order, TRUST, now=NOW).sha256 == claims.order_sha256
    void = orders.verify_delivery(orders.sign_void(STORE, aud="pbx-1", seq=2), TRUST, aud="pbx-1", now=NOW)
    assert (void.seq, void.void, void.order) == (2, True, None)
    for call, error in (
        (lambda: orders.verify_delivery(jws, TRUST, aud="pbx-2", now=NOW), OrderError),
        (lambda: orders.verify_delivery(jws, TRUST, aud="pbx-1", now="2026-03-03T00:00:00.000Z"), OrderError),
        (
            lambda: orders.verify_delivery(
                orders.sign_delivery(DPO, aud="pbx-1", seq=1, order=ORDER), TRUST, aud="pbx-1", now=NOW
            ),
            SignatureError,
        ),
        (lambda: orders.sign_delivery(STORE, aud="pbx-1", seq=0, order=ORDER), OrderError),
    ):
        with pytest.raises(error):
            call()


@pytest.mark.parametrize(
    "change",
    [{"order_sha256": "00" * 32}, {"order": None}, {"void": True}, {"order": {"payload": "", "signatures": []}}],
)
def test_deliveries_that_contradict_themselves(change: dict[str, Any]) -> None:
    claims = {
        "aud": "pbx-1", "exp": None, "order": ORDER, "order_sha256": orders.order_sha256(ORDER), "seq": 1, "void": False,
        **change,
    }  # fmt: skip
    payload = json.dumps(claims, sort_keys=True, separators=(",", ":")).encode()
    with pytest.raises(OrderError):
        orders.verify_delivery(
            sign_compact(payload, STORE, STORE.kid, orders.DELIVERY_TYP), TRUST, aud="pbx-1", now=NOW
        )


def document(claims: ReceiptClaims = DONE, key: SigningKey = EDGE, order: dict[str, Any] = ORDER) -> dict[str, Any]:
    return copy.deepcopy(orders.receipt_document(orders.sign_receipt(claims, key), order))


def test_a_receipt_proves_everything() -> None:
    whole = json.dumps(document(), indent=1)
    assert orders.verify_receipt_document(whole, TRUST) == DONE
    seen = orders.open_receipt_document(whole, KeySet.load(TRUST.dump()))
    assert seen.order == CLAIMS
    assert [one.owner for one in seen.ordered_by] == ["Jana", "central"]
    assert seen.edge.edge_id == "pbx-1"


def test_a_receipt_outlives_order_and_keys() -> None:
    pause = orders.sign_order(changed(cmd="pause"), [STORE])
    claims = msgspec.structs.replace(
        DONE, order_sha256=orders.order_sha256(pause), key_ids=(), evidence={}, at=NEXT_DAY
    )
    retired = KeySet.of(
        msgspec.structs.replace(one, retired="2026-04-01T00:00:00.000Z") if one.role == "dpo" else one
        for one in TRUST.entries
    )
    assert orders.verify_receipt_document(document(claims, EDGE, pause), retired) == claims
    assert orders.verify_receipt_document(document(), retired) == DONE


def test_a_receipt_by_a_retired_key_is_refused() -> None:
    retired = KeySet.of(
        msgspec.structs.replace(one, retired=ISSUED) if one.edge_id == "pbx-1" else one for one in TRUST.entries
    )
    with pytest.raises(ReceiptError):
        orders.verify_receipt_document(document(), retired)


def _replace(**members: Any) -> ReceiptClaims:
    return msgspec.structs.replace(DONE, **members)


def _flip(text: str) -> str:
    return ("A" if text[0] != "A" else "B") + text[1:]


@pytest.mark.parametrize(
    "make",
    [
        lambda: document(key=EDGE2),
        lambda: document(key=STORE),
        lambda: document(key=SigningKey.from_seed(bytes(32))),
        lambda: document(_replace(order_sha256="00" * 32)),
        lambda: document(_replace(jti="01" * 16)),
        lambda: document(_replace(key_ids=())),
        lambda: document(_replace(evidence={})),
        lambda: document(order=orders.sign_order(CLAIMS, [STORE, DPO2])),
        lambda: document(
            _replace(order_sha256=orders.order_sha256(orders.sign_order(CLAIMS, [STORE]))),
            order=orders.sign_order(CLAIMS, [STORE]),
        ),
        lambda: {**document(), "claims": {**document()["claims"], "result": "already"}},
        lambda: {**document(), "claims": {}},
        lambda: {**document(), "type": "callwarden-receipt/v2"},
        lambda: {**document(), "note": "x"},
        lambda: {k: v for k, v in document().items() if k != "order"},
        lambda: {**document(), "jws": None},
        lambda: {**document(), "jws": "a.b"},
        lambda: {**document(), "order": "text"},
        lambda: {**document(), "jws": ".".join(_flip(p) for p in document()["jws"].split("."))},
        list,
        lambda: "",
    ],
)
def test_receipts_refused(make: Any) -> None:
    bad = make()
    with pytest.raises(ReceiptError) as caught:
        orders.verify_receipt_document(bad if isinstance(bad, dict) else json.dumps(bad), TRUST)
    assert caught.value.code.startswith("receipt.")


def test_every_byte_of_a_receipt_counts() -> None:
    whole = json.dumps(document(), separators=(",", ":"))
    for at in range(0, len(whole), 7):
        bad = whole[:at] + ("x" if whole[at] != "x" else "y") + whole[at + 1 :]
        with pytest.raises(FormatError):
            orders.verify_receipt_document(bad, TRUST)


@pytest.mark.parametrize(
    "result", ["", "done ", "refused", "refused:", "refused:A b", "Done", "done\n", "refused:" + "a" * 65]
)
def test_results(result: str) -> None:
    with pytest.raises(OrderError):
        orders.sign_receipt(_replace(result=result), EDGE)


def test_refused_receipts_carry_why() -> None:
    claims = _replace(result="refused:hold", key_ids=(), slots=(), evidence={}, reason="a legal hold covers it")
    assert orders.verify_receipt_document(document(claims), TRUST).result == "refused:hold"


def test_an_unknown_member_in_a_receipt_is_refused() -> None:
    payload = json.dumps({**msgspec.to_builtins(DONE), "zzz": 1}, sort_keys=True, separators=(",", ":")).encode()
    jws = sign_compact(payload, EDGE, EDGE.kid, orders.RECEIPT_TYP)
    with pytest.raises(OrderError):
        orders.verify_receipt(jws, TRUST)


GROUND = orders.Ground(cause="withdrawal", call_id="bb" * 16, recording_id="aa" * 16, event_seq=7)


def grounded(key: SigningKey = EDGE, **members: Any) -> dict[str, Any]:
    claims = _replace(
        jti=GROUND.jti, order_sha256=GROUND.sha256, recording_id=GROUND.recording_id,
        evidence={"read_back": True, "ground": msgspec.to_builtins(GROUND)},
    )  # fmt: skip
    return orders.receipt_document(orders.sign_receipt(msgspec.structs.replace(claims, **members), key), None)


def test_an_erasure_that_nobody_ordered_proves_itself() -> None:
    seen = orders.open_receipt_document(json.dumps(grounded()), TRUST)
    assert (seen.order, seen.ordered_by, seen.ground) == (None, (), GROUND)
    assert seen.edge.edge_id == "pbx-1"
    deferred = grounded(result="deferred", key_ids=(), reason="under hold")
    assert orders.verify_receipt_document(deferred, TRUST).result == "deferred"


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (lambda: grounded(key=EDGE2), "receipt.edge"),
        (lambda: grounded(key=STORE), "receipt.role"),
        (lambda: grounded(jti="01" * 16), "receipt.ground"),
        (lambda: grounded(order_sha256="01" * 32), "receipt.ground"),
        (lambda: grounded(recording_id="01" * 16), "receipt.ground"),
        (lambda: grounded(result="refused:hold"), "receipt.ground"),
        (lambda: grounded(key_ids=()), "receipt.evidence"),
        (lambda: grounded(evidence={"ground": msgspec.to_builtins(GROUND)}), "receipt.evidence"),
        (lambda: grounded(evidence={"ground": {"cause": "boredom"}}), "receipt.malformed"),
        (lambda: grounded(evidence={"read_back": True}), "receipt.order"),
        (lambda: {**grounded(), "order": ORDER}, "receipt.ground"),
        (lambda: {**document(), "order": None}, "receipt.order"),
    ],
)
def test_grounds_refused(make: Any, code: str) -> None:
    with pytest.raises(ReceiptError) as caught:
        orders.open_receipt_document(make(), TRUST)
    assert caught.value.code == code
