"""Make the project's own vectors: `python -m tests.vectors.make` writes the JSON files beside this one.

Everything is deterministic, so the files are a function of the code; a test holds them equal. They are for other
implementations: each says what the right outcome is, failures included, and by which error code of ours.
"""

from __future__ import annotations

import copy
import hashlib
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from formats import age, canonical, manifest, merkle, orders, shred
from formats.certificate import LogEntry, make_certificate
from formats.checkpoint import Checkpoint, EntryProof
from formats.jws import sign_compact, sign_general
from formats.keys import SigningKey, b64url, unb64url
from formats.keyset import KeySet, entry
from formats.merkle import TreeFrontier, leaf_hash
from formats.note import COSIGNATURE, ED25519, NoteKey
from formats.orders import OrderClaims, Person, ReceiptClaims, Target
from formats.orders.claims import encode
from tests.vectors.aes256gcm import aes256gcm

HERE = Path(__file__).parent
NAMES = ("store", "dpo", "dpo-2", "edge", "edge-2", "stranger", "witness")
KEYS = {name: SigningKey.from_seed(hashlib.sha256(f"test key {name}".encode()).digest()) for name in NAMES}
STORE, DPO, DPO2, EDGE, EDGE2, STRANGER, WITNESS = KEYS.values()
#: Another key of the person who has DPO already.
DPO_AGAIN = SigningKey.from_seed(hashlib.sha256(b"test key dpo again").digest())
LATER = "2026-03-02T10:00:00.000Z"
NOW = "2026-03-01T10:00:30.000Z"
TRUST = KeySet.of(
    [
        entry(STORE.verify_key, "store", "central"),
        entry(DPO.verify_key, "dpo", "dpo"),
        entry(DPO2.verify_key, "dpo", "dpo-2"),
        entry(EDGE.verify_key, "edge", "pbx-1", edge_id="pbx-1"),
        entry(EDGE2.verify_key, "edge", "pbx-2", edge_id="pbx-2"),
    ]
)
Case = dict[str, Any]


def plain(length: int) -> bytes:
    """The plaintext of every vector: byte i is i mod 251."""
    return (bytes(range(251)) * (length // 251 + 1))[:length]


def tags_hash(payload: bytes) -> str:
    """The running hash over the chunk tags of a payload."""
    value = manifest.TAGS_HASH_START
    for at in range(age.NONCE, len(payload), age.ENC_CHUNK):
        value = manifest.extend_tags_hash(value, payload[at : at + age.ENC_CHUNK][-age.TAG :])
    return value.hex()


def age_detached() -> Any:
    """Payloads by length, and what is done to them in the failures."""
    file_key, nonce = bytes(range(16)), bytes(range(16, 32))
    identity = age.X25519Identity.generate(bytes([7]) * 32)
    header = age.make_header(file_key, [identity.recipient()], randbytes=lambda size: bytes([9]) * size)
    payloads: list[Case] = []
    for length in (0, 1, 65535, 65536, 65537, 131072, 131073):
        data = b"".join(age.encrypt_stream(file_key, nonce, io.BytesIO(plain(length))))
        digest = hashlib.sha512(data).hexdigest()
        payloads.append({"length": length, "size": len(data), "sha512": digest, "tags_hash": tags_hash(data)})
    failures = [
        {"length": 0, "op": "cut", "to": 16},
        {"length": 1, "op": "cut", "to": 32},
        {"length": 65537, "op": "cut", "to": 16 + 65552},
        {"length": 131072, "op": "cut", "to": 16 + 65552},
        {"length": 131073, "op": "cut", "to": 16 + 2 * 65552 + 16},
        {"length": 65536, "op": "append", "hex": "00"},
        {"length": 65537, "op": "append", "hex": "00" * 16},
        {"length": 1, "op": "flip", "at": 0},
        {"length": 131073, "op": "flip", "at": 16},
        {"length": 131073, "op": "flip", "at": 16 + 65552 + 100},
        {"length": 131073, "op": "flip", "at": 16 + 2 * 65552},
        {"length": 131072, "op": "swap", "chunks": [0, 1]},
        {"length": 131073, "op": "drop", "chunk": 1},
        {"length": 131073, "op": "repeat", "chunk": 0},
    ]
    return {
        "file_key": file_key.hex(),
        "nonce": nonce.hex(),
        "identity": str(identity),
        "recipient": str(identity.recipient()),
        "header": header.decode(),
        "key_id": manifest.key_id(file_key).hex(),
        "payloads": payloads,
        "failures": failures,
    }


def sealed_header() -> Any:
    """One sealed header, and the places where it must not open."""
    base: Case = {"shred_key": bytes(range(32)).hex(), "recording_id": "aa" * 16, "segment_id": "bb" * 16, "version": 1}
    header = b"age-encryption.org/v1\n-> X25519 test\n\n--- test\n"
    sealed = shred.seal_header(header, bytes(range(32)), bytes(range(12)), "aa" * 16, "bb" * 16, 1)
    wrong: list[Case] = [
        {"version": 2},
        {"segment_id": "aa" * 16},
        {"recording_id": "bb" * 16},
        {"shred_key": bytes(32).hex()},
        {"sealed": (sealed[:-1] + bytes([sealed[-1] ^ 1])).hex()},
        {"sealed": sealed[:12].hex()},
    ]
    good = {**base, "sealed": sealed.hex(), "header": header.decode()}
    return {"valid": [good], "invalid": [{**base, "sealed": sealed.hex(), **one} for one in wrong]}


def _recording() -> manifest.Manifest:
    payload = b"".join(age.encrypt_stream(bytes(range(16)), bytes(range(16, 32)), io.BytesIO(plain(131072))))
    one = manifest.SegmentEntry(
        segment_id="bb" * 16, number=0, suite="age1", codec="sln", rate=8000, channels=2, encoding="none",
        frames=32768, start_ms=0, duration_ms=4096,
        plain_bytes=131072, payload_bytes=len(payload), chunks=2, payload_sha512=hashlib.sha512(payload).hexdigest(),
        tags_hash=tags_hash(payload), key_id=manifest.key_id(bytes(range(16))).hex(), state="closed",
        end_reason="hangup",
    )  # fmt: skip
    return manifest.Manifest(
        recording_id="aa" * 16, call_id="cc" * 16, edge_id="pbx-1", policy_id="support", policy_version="00" * 32,
        permit_id="dd" * 16, consent_event=5, ending="complete", started_at="2026-03-01T10:00:00.000Z",
        ended_at="2026-03-01T10:00:04.096Z", frames=32768, software="callwarden", segments=(one,),
    )  # fmt: skip


def manifests() -> Any:
    """A signed manifest, and ones that are signed but must be refused."""
    value = msgspec.to_builtins(_recording())

    def signed(changed: Any, key: SigningKey = EDGE, typ: str = manifest.TYP) -> str:
        return sign_compact(canonical.dumps(changed), key, key.kid, typ)

    good = signed(value)
    h, p, s = good.split(".")
    segment = value["segments"][0]
    encoded = {**segment, "encoding": "flac", "frames": 40000, "duration_ms": 5000}
    compacted = {**value, "frames": 40000, "segments": [encoded]}
    bad = {
        "unknown key": signed(value, STRANGER),
        "another edge's key": signed(value, EDGE2),
        "a key of another role": signed(value, STORE),
        "another typ": signed(value, EDGE, orders.RECEIPT_TYP),
        "unknown member": signed({**value, "note": ""}),
        "frames contradict": signed({**value, "frames": 1}),
        "a segment's frames contradict its bytes": signed(
            {**value, "frames": 32767, "segments": [{**segment, "frames": 32767, "duration_ms": 4095}]}
        ),
        "an encoding that is not known": signed({**value, "segments": [{**segment, "encoding": "mp3"}]}),
        "cut off and encoded": signed(
            {**compacted, "segments": [{**encoded, "state": "truncated", "payload_bytes": 16 + 2 * age.ENC_CHUNK}]}
        ),
        "chunks contradict": signed({**value, "segments": [{**segment, "chunks": 3}]}),
        "no segment": signed({**value, "segments": []}),
        "ends before it starts": signed({**value, "ended_at": "2026-03-01T09:00:00.000Z"}),
        "not canonical": sign_compact(json.dumps(value).encode(), EDGE, EDGE.kid, manifest.TYP),
        "altered payload": f"{h}.{b64url(canonical.dumps({**value, 'call_id': 'ee' * 16}))}.{s}",
        "no signature": f"{h}.{p}.",
        "alg none": f"{b64url(canonical.dumps({'alg': 'none', 'kid': EDGE.kid, 'typ': manifest.TYP}))}.{p}.",
    }
    return {
        "keyset": json.loads(TRUST.dump()),
        "valid": [{"jws": good, "manifest": value}, {"jws": signed(compacted), "manifest": compacted}],
        "invalid": [{"why": why, "jws": jws} for why, jws in bad.items()],
    }


CLAIMS = OrderClaims(
    iss="dpo", jti="ab" * 16, iat="2026-03-01T10:00:00.000Z", fleet="test", cmd="erase",
    target=Target("recording", "aa" * 16), as_of="2026-03-01T10:00:00.000Z", reason="erasure request", case_ref="17",
)  # fmt: skip
ORDER = orders.sign_order(CLAIMS, [DPO, STORE])


def _mutated(change: Callable[[Any], Any]) -> Any:
    document = copy.deepcopy(ORDER)
    change(document)
    return document


def _stripped(document: Any, number: int) -> Any:
    return {**document, "signatures": [one for at, one in enumerate(document["signatures"]) if at != number]}


def order_cases() -> Any:
    """Orders that hold and orders that must be refused, all at the same `now`."""
    trust = KeySet.of([*TRUST.entries, entry(DPO_AGAIN.verify_key, "dpo", "dpo")])

    def order(cmd: str, *keys: SigningKey, **change: Any) -> Any:
        claims = msgspec.structs.replace(CLAIMS, cmd=cmd, **change)
        return orders.sign_order(claims, keys)

    person = {"target": Target("person", Person(bytes(range(16)), "+420777123456").id), "exclude": ("dd" * 16,),
              "located": "ee" * 16}  # fmt: skip
    stop = {"target": Target("order", CLAIMS.jti)}
    plain = order("erase", DPO, STORE, target=Target("policy", "support"), exported_to="sftp://archive.example/2026-02")

    def swap(document: Any) -> None:
        one, two = document["signatures"]
        one["signature"], two["signature"] = two["signature"], one["signature"]

    payload = encode(CLAIMS)
    unsorted = sign_general(json.dumps(dict(reversed(json.loads(payload).items()))).encode(), [(DPO, DPO.kid), (STORE, STORE.kid)],
                            orders.ORDER_TYP)  # fmt: skip
    old = "2026-02-28T10:00:00.000Z"
    table = {"target": Target("policy", "sales"), "content": {"toml": '[policy.sales]\nmode = "never"\n'}}
    keyset = {"keyset": json.loads(KeySet.of(one for one in TRUST.entries if one.role != "edge").dump())}
    keys = {"target": Target("fleet", "test"), "content": keyset}
    headers = {"content": {"headers": [{"segment": 0, "statement": "a.b.c", "header": "AAAA"}]}}

    def brought(cmd: str, change: dict[str, Any]) -> Any:
        """What our own writer refuses to make, under good signatures."""
        whole = json.loads(encode(msgspec.structs.replace(CLAIMS, cmd="erase"))) | {"cmd": cmd} | change
        return sign_general(canonical.dumps(whole), [(DPO, DPO.kid), (STORE, STORE.kid)], orders.ORDER_TYP)

    policy_target = {"kind": "policy", "id": "sales"}
    valid = {
        "policy by store and dpo": order("policy", STORE, DPO, **table),
        "policy for one edge": order(
            "policy", STORE, DPO, **{**table, "content": {**table["content"], "edges": ("pbx-1",)}}
        ),
        "keys by store and dpo": order("keys", STORE, DPO, **keys),
        "rewrap by store and dpo": order("rewrap", STORE, DPO, **headers),
        "fetch by the store": order("fetch", STORE),
        "erase by store and dpo": ORDER,
        "the other way round": order("erase", STORE, DPO),
        "erase is never too late": order("erase", STORE, DPO, iat=old),
        "pause by the store": order("pause", STORE),
        "release by two people": order("release", DPO, DPO2),
        "erase of a person, a call left out": order("erase", STORE, DPO, **person),
        "erase of a person, two dpo": order("erase", STORE, DPO, DPO2, **person),
        "erase of a policy that was exported": plain,
        "cancel by the store": order("cancel", STORE, **stop),
        "cancel by a person alone": order("cancel", DPO, **stop),
        "cancel by a person, countersigned": order("cancel", STORE, DPO, **stop),
    }
    invalid = {
        "stripped: the dpo alone": _mutated(lambda d: d["signatures"].pop(1)),
        "stripped: the store alone": _mutated(lambda d: d["signatures"].pop(0)),
        "stripped: nobody": _mutated(lambda d: d["signatures"].clear()),
        "doubled: the dpo twice": _mutated(lambda d: d["signatures"].__setitem__(1, d["signatures"][0])),
        "doubled: a third line": _mutated(lambda d: d["signatures"].append(d["signatures"][0])),
        "swapped signatures": _mutated(swap),
        "one too many": order("erase", STORE, DPO, DPO2),
        "two dpo, no store": order("erase", DPO, DPO2),
        "an edge instead of the dpo": order("erase", STORE, EDGE),
        "a stranger": order("erase", STORE, STRANGER),
        "a person by the store alone": order("erase", STORE, **person),
        "a person by one dpo twice": order("erase", STORE, DPO, DPO, **person),
        "a person by two dpo without the store": order("erase", DPO, DPO2, **person),
        "a person, the second dpo stripped of the store": _stripped(order("erase", STORE, DPO, DPO2, **person), 0),
        "cancel by an edge": order("cancel", EDGE, **stop),
        "cancel by nobody": _stripped(order("cancel", DPO, **stop), 0),
        "cancel by two people": order("cancel", DPO, DPO2, **stop),
        "cancel by one person twice": order("cancel", DPO, DPO, **stop),
        "release by one person twice": order("release", DPO, DPO),
        "release by one person with two keys": order("release", DPO, DPO_AGAIN),
        "a person by one dpo with two keys": order("erase", STORE, DPO, DPO_AGAIN, **person),
        "release by the store and a person": order("release", STORE, DPO),
        "policy by the store alone": order("policy", STORE, **table),
        "policy by the dpo alone": order("policy", DPO, **table),
        "policy by two dpo": order("policy", DPO, DPO2, **table),
        "policy, expired": order("policy", STORE, DPO, iat=old, **table),
        "policy, another text": {
            **order("policy", STORE, DPO, **table),
            "payload": order("policy", STORE, DPO, **{**table, "content": {"toml": ""}})["payload"],
        },
        "policy that brings nothing": brought("policy", {"target": policy_target}),
        "policy that brings more": brought("policy", {"target": policy_target, "content": {"toml": "", "more": 1}}),
        "policy of a recording": brought("policy", {"content": {"toml": ""}}),
        "keys by the store alone": order("keys", STORE, **keys),
        "keys by store and an edge": order("keys", STORE, EDGE, **keys),
        "keys, expired": order("keys", STORE, DPO, iat=old, **keys),
        "keys with an edge's own": brought(
            "keys", {"target": {"kind": "fleet", "id": "test"}, "content": {"keyset": json.loads(TRUST.dump())}}
        ),
        "keys for another fleet": brought("keys", {"target": {"kind": "fleet", "id": "best"}, "content": keyset}),
        "rewrap by the store alone": order("rewrap", STORE, **headers),
        "rewrap with a segment twice": brought("rewrap", {"content": {"headers": headers["content"]["headers"] * 2}}),
        "rewrap without headers": brought("rewrap", {"content": {"headers": []}}),
        "fetch by a dpo": order("fetch", DPO),
        "fetch, expired": order("fetch", STORE, iat=old),
        "erase that brings something": brought("erase", {"content": {"toml": ""}}),
        "unprotected header": _mutated(lambda d: d["signatures"][0].update(header={"kid": DPO.kid})),
        "another member": _mutated(lambda d: d.update(note="x")),
        "altered payload": _mutated(lambda d: d.update(payload=b64url(payload.replace(b"test", b"best")))),
        "not canonical": unsorted,
        "another typ": sign_general(payload, [(DPO, DPO.kid), (STORE, STORE.kid)], orders.RECEIPT_TYP),
        "expired": order("pause", STORE, iat=old),
        "from the future": order("hold", STORE, iat="2026-03-02T10:00:00.000Z"),
    }
    opening = Person(bytes(range(16)), "+420777123456")
    return {
        "keyset": json.loads(trust.dump()),
        "now": NOW,
        "person": {"opening": opening.document(), "id": opening.id, "slot": opening.packed().hex()},
        "valid": [{"why": why, "order": one, "sha256": orders.order_sha256(one)} for why, one in valid.items()],
        "invalid": [{"why": why, "order": one} for why, one in invalid.items()],
        "deliveries": deliveries(),
    }


def deliveries() -> Any:
    """Deliveries of ORDER to pbx-1 that it takes, and that it must not, at the same `now`."""
    good = orders.sign_delivery(STORE, aud="pbx-1", seq=7, order=ORDER)
    head, payload, signature = good.split(".")
    claims = json.loads(unb64url(payload))

    def signed(key: SigningKey = STORE, typ: str = orders.DELIVERY_TYP, **change: Any) -> str:
        return sign_compact(canonical.dumps({**claims, **change}), key, key.kid, typ)

    other = b64url(canonical.dumps({**claims, "seq": 8}))
    return {
        "aud": "pbx-1",
        "valid": [good, orders.sign_void(STORE, aud="pbx-1", seq=8), signed(exp="2026-03-01T11:00:00.000Z")],
        "invalid": [
            {"why": "for another edge", "jws": signed(aud="pbx-2")},
            {"why": "too late", "jws": signed(exp="2026-03-01T10:00:00.000Z")},
            {"why": "another order's hash", "jws": signed(order_sha256="00" * 32)},
            {"why": "an order and void", "jws": signed(void=True)},
            {"why": "neither an order nor void", "jws": signed(order=None, order_sha256=None)},
            {"why": "number 0", "jws": signed(seq=0)},
            {"why": "by a dpo", "jws": signed(key=DPO)},
            {"why": "by a stranger", "jws": signed(key=STRANGER)},
            {"why": "another typ", "jws": signed(typ=orders.RECEIPT_TYP)},
            {"why": "another number under the signature", "jws": f"{head}.{other}.{signature}"},
            {"why": "stripped", "jws": f"{head}.{payload}."},
        ],
    }


def receipts() -> Any:
    """A receipt document that proves an erasure, and ones that prove nothing."""
    claims = ReceiptClaims(
        receipt_id="ef" * 16, jti=CLAIMS.jti, n=0, result="done", edge_id="pbx-1", at=NOW,
        order_sha256=orders.order_sha256(ORDER), recording_id="aa" * 16,
        key_ids=(manifest.key_id(bytes(range(16))).hex(),), slots=(3,), evidence={"read_back": True},
    )  # fmt: skip

    def document(key: SigningKey = EDGE, order: Any = ORDER, **change: Any) -> Any:
        return orders.receipt_document(orders.sign_receipt(msgspec.structs.replace(claims, **change), key), order)

    stripped = orders.sign_order(CLAIMS, [STORE])
    good = document()
    ground = orders.Ground(cause="withdrawal", call_id="bb" * 16, recording_id="aa" * 16, event_seq=7)
    by_itself: dict[str, Any] = {
        "jti": ground.jti, "order_sha256": ground.sha256, "order": None,
        "evidence": {"read_back": True, "ground": msgspec.to_builtins(ground)},
    }  # fmt: skip
    many = orders.sign_order(
        msgspec.structs.replace(CLAIMS, target=Target("person", Person(bytes(range(16)), "+420777123456").id)),
        [DPO, STORE],
    )
    last: dict[str, Any] = {
        "order": many, "order_sha256": orders.order_sha256(many), "recording_id": None, "key_ids": (), "slots": (),
        "evidence": {"calls": 2, "recordings": 1},
    }  # fmt: skip
    invalid = {
        "the last word about a person counts nothing": document(**{**last, "evidence": {"calls": 0}}),
        "a recording of a person without keys": document(**{**last, "recording_id": "aa" * 16}),
        "another edge signed": document(EDGE2),
        "the store signed": document(STORE),
        "a stranger signed": document(STRANGER),
        "names another order": document(order_sha256="00" * 32),
        "another order beside it": document(order=orders.sign_order(CLAIMS, [STORE, DPO2])),
        "the order was signed by the store alone": document(order=stripped, order_sha256=orders.order_sha256(stripped)),
        "done without keys": document(key_ids=()),
        "done without evidence": document(evidence={}),
        "shows something else": {**good, "claims": {**good["claims"], "at": CLAIMS.iat}},
        "an order's receipt without the order": document(order=None),
        "a ground with an order beside it": document(**{**by_itself, "order": ORDER}),
        "another ground than the number says": document(**{**by_itself, "order_sha256": "00" * 32}),
        "a ground about another recording": document(**by_itself, recording_id="cc" * 16),
        "by itself without keys": document(**by_itself, key_ids=()),
        "by itself refused": document(**by_itself, result="refused:hold"),
        "no order": {name: good[name] for name in ("type", "claims", "jws")},
        "another type": {**good, "type": "callwarden-receipt/v0"},
    }
    return {
        "keyset": json.loads(TRUST.dump()),
        "valid": [good, document(**by_itself), document(**last)],
        "invalid": [{"why": why, "document": one} for why, one in invalid.items()],
    }


def audit_log() -> Any:
    """A log of seven entries: roots, proofs, a cosigned checkpoint and an entry's proof."""
    origin = "callwarden/pbx-1/1"
    entries = [b'{"n":%d}' % n for n in range(7)]
    nodes: dict[tuple[int, int], bytes] = {}
    frontier = TreeFrontier()
    roots = [frontier.root().hex()]
    for one in entries:
        nodes.update({(level, idx): digest for level, idx, digest in frontier.append(leaf_hash(one))})
        roots.append(frontier.root().hex())

    def read(level: int, idx: int) -> bytes:
        return nodes[level, idx]

    note = (
        Checkpoint(origin, 7, frontier.root()).note().sign(origin, EDGE).cosign("central/witness", WITNESS, 1772359230)
    )
    fork = Checkpoint(origin, 7, leaf_hash(b"")).note().sign(origin, EDGE)
    return {
        "log": str(NoteKey(origin, ED25519, EDGE.verify_key)),
        "witness": str(NoteKey("central/witness", COSIGNATURE, WITNESS.verify_key)),
        "entries": [one.decode() for one in entries],
        "roots": roots,
        "inclusion": [
            {"index": index, "size": size, "proof": [h.hex() for h in merkle.inclusion_proof(index, size, read)]}
            for index, size in ((0, 1), (0, 7), (3, 7), (6, 7), (2, 5))
        ],
        "consistency": [
            {
                "first": first,
                "second": second,
                "proof": [h.hex() for h in merkle.consistency_proof(first, second, read)],
            }
            for first, second in ((0, 7), (1, 7), (3, 7), (4, 7), (6, 7), (7, 7))
        ],
        "checkpoint": str(note),
        "fork": str(fork),
        "not signed by the log": str(
            Checkpoint(origin, 7, frontier.root()).note().cosign("central/witness", WITNESS, 1)
        ),
        "proof of entry 3": str(EntryProof(3, tuple(merkle.inclusion_proof(3, 7, read)), str(note))),
    }


def certificates() -> Any:
    """A certificate over two edges that proves itself, one of an edge alone, and ones that prove nothing."""
    entries: dict[str, list[str]] = {"pbx-1": [], "pbx-2": []}
    keys = {"pbx-1": EDGE, "pbx-2": EDGE2}
    trust = KeySet.of([*TRUST.entries, entry(WITNESS.verify_key, "witness", "callwarden/test/witness")])

    def receipt(edge: str, number: int, order: Any, **change: Any) -> str:
        claims = ReceiptClaims(
            receipt_id=hashlib.sha256(f"{edge}{number}".encode()).hexdigest()[:32], jti=CLAIMS.jti, n=number,
            result="done", edge_id=edge, at=NOW, order_sha256=orders.order_sha256(order), **change,
        )  # fmt: skip
        body: dict[str, Any] = {"jti": claims.jti, "n": number, "result": claims.result, "state": "answered"}
        kind = "order.answered"
        if claims.recording_id and claims.result == "done":
            kind, body = "recording.erased", {"receipt_id": claims.receipt_id, "recording_id": claims.recording_id}
        entries[edge].append(canonical.dumps({"at": NOW, "body": body, "kind": kind, "subject": None}).decode())
        return orders.sign_receipt(claims, keys[edge])

    person = Person(bytes(range(16)), "+420777123456")
    claims = msgspec.structs.replace(CLAIMS, target=Target("person", person.id), located="ee" * 16)
    order = orders.sign_order(claims, [DPO, STORE])
    key_id = manifest.key_id(bytes(range(16))).hex()
    keeper = {
        "iss": "test", "edge_id": "pbx-1", "recording_id": "aa" * 16, "jti": CLAIMS.jti, "slots": [1], "key_ids": [key_id],
        "at": NOW, "result": "destroyed",
    }  # fmt: skip
    stated = {
        "claims": keeper,
        "jws": sign_compact(canonical.dumps(keeper), STORE, STORE.kid, "callwarden-keeper+json"),
    }
    copies = [
        {"place": "backup/b1", "state": "expires", "at": "2026-04-01T00:00:00.000Z", "detail": "ciphertext"},
        {"place": "export/wav", "state": "exported", "at": "2026-02-01T00:00:00.000Z", "detail": "purpose: quality"},
    ]
    receipts = [
        receipt("pbx-1", 0, order, recording_id="aa" * 16, key_ids=(key_id,), slots=(3,), keeper_evidence=stated,
                evidence={"read_back": True, "copies": copies, "manifest_sha256": "cc" * 32}),
        receipt("pbx-1", 1, order, evidence={"calls": 1, "recordings": 1}),
    ]  # fmt: skip
    refused = msgspec.structs.replace(
        ReceiptClaims(
            receipt_id="ba" * 16, jti=CLAIMS.jti, n=0, result="refused:command.second_key", edge_id="pbx-2", at=NOW,
            order_sha256=orders.order_sha256(order), reason="too many",
        )
    )  # fmt: skip
    entries["pbx-2"].append(
        canonical.dumps(
            {"at": NOW, "body": {"jti": CLAIMS.jti, "n": 0, "result": refused.result, "state": "answered"},
             "kind": "order.answered", "subject": None}
        ).decode()
    )  # fmt: skip
    receipts.append(orders.sign_receipt(refused, EDGE2))

    def log(edge: str, number: int, receipt_id: str, cosigned: bool = True) -> LogEntry:
        origin = f"callwarden/{edge}/1"
        frontier, nodes = TreeFrontier(), {}
        for one in entries[edge]:
            nodes.update({(level, idx): digest for level, idx, digest in frontier.append(leaf_hash(one.encode()))})
        note = Checkpoint(origin, len(entries[edge]), frontier.root()).note().sign(origin, keys[edge])
        if cosigned:
            note = note.cosign("callwarden/test/witness", WITNESS, 1772359230)
        path = merkle.inclusion_proof(number, len(entries[edge]), lambda level, idx: nodes[level, idx])
        return LogEntry(receipt_id, entries[edge][number], str(EntryProof(number, tuple(path), str(note))))

    ids = [orders.verify_receipt(one, trust)[0].receipt_id for one in receipts]
    logged = [log("pbx-1", 0, ids[0]), log("pbx-1", 1, ids[1]), log("pbx-2", 0, ids[2])]

    def made(
        order: Any = order,
        receipts: Any = receipts,
        log: Any = logged,
        key: Any = STORE,
        outstanding: Any = (),
        **change: Any,
    ) -> Any:
        given = {"certificate_id": "fe" * 16, "at": LATER, "issuer": "central", "level": 2} | change
        return make_certificate(key, receipts, order, trust, log=log, outstanding=outstanding, **given)

    good = made()

    def signed(change: Callable[[Any], None], key: SigningKey = STORE, base: Any = good, **outer: Any) -> Any:
        """Another set of claims under a good signature."""
        claims = copy.deepcopy(base["claims"])
        change(claims)
        jws = sign_compact(canonical.dumps(claims), key, key.kid, "callwarden-certificate+json")
        return {**base, "claims": claims, "jws": jws, **outer}

    def drop(name: str) -> Callable[[Any], None]:
        return lambda claims: claims.__setitem__(name, [])

    had = {**keeper, "media": ["12" * 64, "34" * 64]}
    had_jws = sign_compact(canonical.dumps(had), STORE, STORE.kid, "callwarden-keeper+json")
    of_recording = orders.sign_order(CLAIMS, [DPO, STORE])
    with_media = orders.sign_receipt(
        ReceiptClaims(
            receipt_id="bc" * 16, jti=CLAIMS.jti, n=0, result="done", edge_id="pbx-1", at=NOW,
            order_sha256=orders.order_sha256(of_recording), recording_id="aa" * 16, key_ids=(key_id,), slots=(3,),
            keeper_evidence={"claims": had, "jws": had_jws}, evidence={"read_back": True},
        ),
        EDGE,
    )  # fmt: skip

    def removed(sha512: str, key: SigningKey = STORE, **change: Any) -> str:
        said = {
            "iss": "test", "edge_id": "pbx-1", "recording_id": "aa" * 16, "segment_id": "dd" * 16, "number": 0,
            "sha512": sha512, "place": "folder", "jti": CLAIMS.jti, "at": LATER, "result": "destroyed",
        } | change  # fmt: skip
        return sign_compact(canonical.dumps(said), key, key.kid, "callwarden-media+json")

    gone = [removed("12" * 64), removed("34" * 64, place="s3/bucket")]
    media_gone = made(of_recording, [with_media], [], media=gone)
    media_half = made(of_recording, [with_media], [], media=gone[:1])

    def media_is(*statements: str) -> Any:
        return signed(lambda c: c.update(media=list(statements)), base=media_gone)

    ground = orders.Ground(cause="withdrawal", call_id="bb" * 16, recording_id="aa" * 16, event_seq=7)
    alone = orders.sign_receipt(
        ReceiptClaims(
            receipt_id="ab" * 16, jti=ground.jti, n=0, result="done", edge_id="pbx-1", at=NOW, order_sha256=ground.sha256,
            recording_id="aa" * 16, key_ids=(key_id,), slots=(3,),
            evidence={"read_back": True, "ground": msgspec.to_builtins(ground)},
        ),
        EDGE,
    )  # fmt: skip
    by_edge = made(None, [alone], [], EDGE, issuer="pbx-1", level=0)
    of_call = orders.sign_order(msgspec.structs.replace(CLAIMS, target=Target("call", "bb" * 16)), [DPO, STORE])

    def answer(number: int, **change: Any) -> str:
        facts = {"result": "done", "key_ids": (key_id,), "slots": (number,)} | change
        claims = ReceiptClaims(
            receipt_id=f"{number:032x}", jti=CLAIMS.jti, n=number, edge_id="pbx-1", at=NOW,
            order_sha256=orders.order_sha256(of_call), **facts,
        )  # fmt: skip
        return orders.sign_receipt(claims, EDGE)

    call = [
        answer(0, result="deferred", reason="under hold: case 7", key_ids=(), slots=()),
        answer(1, recording_id="aa" * 16, evidence={"read_back": True, "left": 1}),
        answer(2, recording_id="cc" * 16, evidence={"read_back": True, "left": 0}),
    ]
    both = made(of_call, call, [])
    unsaid = answer(2, recording_id="cc" * 16, evidence={"read_back": True})

    def of_one(claims: Any) -> None:
        """What a certificate says from which the receipt of the second recording was cut off."""
        for name in ("recordings", "copies"):
            claims[name] = [one for one in claims[name] if one["recording_id"] == "aa" * 16]

    swapped = copy.deepcopy(good["claims"]["log"])
    swapped[0]["entry"], swapped[1]["entry"] = swapped[1]["entry"], swapped[0]["entry"]
    forged = copy.deepcopy(good["claims"]["log"])
    forged[0]["proof"] = forged[0]["proof"].replace("index 0", "index 1")
    invalid = {
        "shows something else": {**good, "claims": {**good["claims"], "level": 3}},
        "hides a copy": signed(lambda c: c["copies"].pop()),
        "calls an export destroyed": signed(
            lambda c: [one.update(state="destroyed") for one in c["copies"] if one["state"] == "exported"]
        ),
        "hides what failed": signed(drop("failed")),
        "final before a backup expires": signed(lambda c: c.update(final_at=NOW)),
        "another key id": signed(lambda c: c["recordings"][0].update(key_ids=["00" * 32])),
        "a receipt left out": signed(lambda c: None, receipts=receipts[1:]),
        "a person's last word left out": signed(
            lambda c: c.update(calls={}, log=[c["log"][0], c["log"][2]]), receipts=[receipts[0], receipts[2]]
        ),
        "a call's last recording left out": signed(of_one, base=both, receipts=call[:2]),
        "a call's last recording does not say so": signed(lambda c: None, base=both, receipts=[*call[:2], unsaid]),
        "deferred, and no more": signed(
            lambda c: c.update(
                recordings=[],
                copies=[],
                failed=[{"edge_id": "pbx-1", "result": "deferred", "reason": "under hold: case 7"}],
            ),
            base=both,
            receipts=call[:1],
        ),
        "a receipt twice": signed(lambda c: None, receipts=[*receipts, receipts[0]]),
        "signed by an edge as central": signed(lambda c: None, key=EDGE),
        "signed by a stranger": signed(lambda c: None, key=STRANGER),
        "signed by the dpo": signed(lambda c: None, key=DPO),
        "an edge certifies another's": signed(lambda c: c.update(issuer="pbx-1"), key=EDGE),
        "the order is not beside it": signed(lambda c: None, order=None),
        "the order was signed by the store alone": signed(lambda c: None, order=orders.sign_order(claims, [STORE])),
        "no such level": signed(lambda c: c.update(level=4)),
        "older than what it certifies": signed(lambda c: c.update(at="2026-03-01T10:00:00.000Z")),
        "log entries exchanged": signed(lambda c: c.update(log=swapped)),
        "a proof that does not lead there": signed(lambda c: c.update(log=forged)),
        "one entry for two receipts": signed(lambda c: c["log"].append(c["log"][0])),
        "a payload called gone that central has not said is": signed(
            lambda c: [
                one.update(state="destroyed", at=LATER) for one in c["copies"] if one["place"] == "central/media"
            ],
            base=media_half,
        ),
        "a payload hidden": signed(
            lambda c: c.update(copies=[one for one in c["copies"] if one["place"] != "central/media"]), base=media_half
        ),
        "a payload's removal by a stranger": media_is(removed("12" * 64, key=STRANGER), gone[1]),
        "a payload's removal of another recording": media_is(removed("12" * 64, recording_id="cc" * 16), gone[1]),
        "a payload's removal twice": media_is(gone[0], gone[0], gone[1]),
        "a payload that is not gone": media_is(removed("12" * 64, result="pending"), gone[1]),
        "media without a statement": signed(lambda c: c.update(media=[])),
        "another member": signed(lambda c: c.update(note="all is well")),
        "outstanding: nobody": signed(lambda c: c.update(outstanding=[])),
        "outstanding, and has answered": signed(lambda c: c.update(outstanding=[{"edge_id": "pbx-1", "since": NOW}])),
        "outstanding twice": signed(lambda c: c.update(outstanding=[{"edge_id": "pbx-9", "since": NOW}] * 2)),
        "outstanding, no time": signed(lambda c: c.update(outstanding=[{"edge_id": "pbx-9", "since": "today"}])),
        "outstanding, by an edge": signed(
            lambda c: c.update(outstanding=[{"edge_id": "pbx-9", "since": NOW}]), key=EDGE, base=by_edge
        ),
        "another type": {**good, "type": "callwarden-certificate/v0"},
    }
    return {
        "keyset": json.loads(trust.dump()),
        "valid": [
            {"document": good, "witnessed": True, "logged": 3},
            {"document": made(log=[log("pbx-1", 0, ids[0], cosigned=False)]), "witnessed": False, "logged": 1},
            {"document": by_edge, "witnessed": False, "logged": 0},
            {"document": both, "witnessed": False, "logged": 0},
            {
                "document": made(of_call, call, [], outstanding=[{"edge_id": "pbx-9", "since": NOW}]),
                "witnessed": False,
                "logged": 0,
            },
            {"document": media_gone, "witnessed": False, "logged": 0},
            {"document": media_half, "witnessed": False, "logged": 0},
        ],
        "invalid": [{"why": why, "document": one} for why, one in invalid.items()],
    }


FILES: dict[str, Callable[[], Any]] = {
    "age-detached.json": age_detached,
    "aes256gcm.json": lambda: aes256gcm(plain),
    "sealed-header.json": sealed_header,
    "manifest.json": manifests,
    "orders.json": order_cases,
    "receipts.json": receipts,
    "audit-log.json": audit_log,
    "certificates.json": certificates,
}


def render(name: str) -> str:
    """The content of one vector file."""
    return json.dumps(FILES[name](), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    for filename in FILES:
        (HERE / filename).write_text(render(filename), encoding="utf-8")
