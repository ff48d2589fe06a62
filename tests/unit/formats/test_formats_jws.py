"""Keys, key sets and the three shapes of JWS; what is stripped, doubled or swapped is refused."""

from __future__ import annotations

import base64
import copy
import json
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jws as jose
from joserfc.jwk import OKPKey

from formats import canonical, jws
from formats.errors import FormatError, JsonError, KeyFormatError, SignatureError
from formats.keys import SigningKey, VerifyKey, b64url, dump_key, load_key, unb64url
from formats.keyset import KeySet, entry
from formats.roles import Role
from tests.unit.formats.public_vectors import wycheproof

TYP = "callwarden-order+json"
STORE, DPO, DPO2, EDGE, STRANGER = (SigningKey.from_seed(bytes([n]) * 32) for n in range(1, 6))
TRUST = KeySet.of(
    [
        entry(STORE.verify_key, "store", "central"),
        entry(DPO.verify_key, "dpo", "Jana"),
        entry(DPO2.verify_key, "dpo", "Karel", not_before="2026-02-01T00:00:00.000Z"),
        entry(EDGE.verify_key, "edge", "pbx-1", edge_id="pbx-1"),
    ]
)
NEED: Counter[Role] = Counter({"store": 1, "dpo": 1})
PAYLOAD = b'{"cmd":"erase"}'


def signed(*keys: SigningKey) -> dict[str, Any]:
    return jws.sign_general(PAYLOAD, [(key, key.kid) for key in keys], TYP)


def header(**members: object) -> str:
    return b64url(canonical.dumps(members))


def resigned(protected: str, key: SigningKey) -> dict[str, str]:
    return {"protected": protected, "signature": b64url(key.sign(f"{protected}.{b64url(PAYLOAD)}".encode()))}


def test_rfc_8037_key() -> None:
    # RFC 8037, appendix A.1 to A.3.
    jwk = {
        "kty": "OKP",
        "crv": "Ed25519",
        "d": "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",
        "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
    }
    key = SigningKey.from_jwk(jwk)
    assert key.kid == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
    assert load_key(dump_key(key)) == key
    assert VerifyKey.from_jwk(key.verify_key.jwk()) == key.verify_key
    assert jwk["d"] not in repr(key)


@pytest.mark.parametrize(
    "change",
    [
        {"x": b64url(DPO.verify_key.public)},
        {"kid": "another"},
        {"crv": "X25519"},
        {"kty": "EC"},
        {"d": "AAAA"},
        {"use": "sig"},
        {"x": b64url(STORE.verify_key.public) + "="},
    ],
)
def test_bad_keys(change: dict[str, str]) -> None:
    with pytest.raises(KeyFormatError):
        SigningKey.from_jwk({**STORE.jwk(), **change})


def test_a_private_key_is_not_pinned() -> None:
    with pytest.raises(KeyFormatError, match="private"):
        VerifyKey.from_jwk(STORE.jwk())


def test_compact_and_detached() -> None:
    text = jws.sign_compact(PAYLOAD, EDGE, EDGE.kid, TYP)
    assert jws.verify_compact(text, TRUST, TYP, "edge").payload == PAYLOAD
    assert jws.verify_compact(text, TRUST, TYP).signer.owner == "pbx-1"
    detached = jws.sign_detached(PAYLOAD, EDGE, EDGE.kid, TYP)
    assert detached.split(".")[1] == ""
    assert jws.verify_detached(detached, PAYLOAD, TRUST, TYP, "edge").payload == PAYLOAD
    for bad, payload in ((detached, PAYLOAD + b" "), (text, PAYLOAD)):
        with pytest.raises(SignatureError):
            jws.verify_detached(bad, payload, TRUST, TYP)


@pytest.mark.parametrize(
    "bad",
    [
        lambda h, p, s: f"{h}.{p}",
        lambda h, p, s: f"{h}.{p}.",
        lambda h, p, s: f"{h}.{p}.{s}.",
        lambda h, p, s: f"{h}.{p}.{s}=",
        lambda h, p, s: f"{h}.{p}A.{s}",
        lambda h, p, s: f"{h}.{b64url(b'{}')}.{s}",
        lambda h, p, s: f"{h}.{p}.{b64url(bytes(64))}",
        lambda h, p, s: f"{h} .{p}.{s}",
        lambda h, p, s: f"ö.{p}.{s}",
    ],
)
def test_compact_refuses(bad: Any) -> None:
    text = jws.sign_compact(PAYLOAD, EDGE, EDGE.kid, TYP)
    with pytest.raises(SignatureError):
        jws.verify_compact(bad(*text.split(".")), TRUST, TYP)


def test_compact_refuses_wrong_type_role_and_stranger() -> None:
    text = jws.sign_compact(PAYLOAD, EDGE, EDGE.kid, TYP)
    with pytest.raises(SignatureError, match="for"):
        jws.verify_compact(text, TRUST, "callwarden-receipt+json")
    with pytest.raises(SignatureError, match="role"):
        jws.verify_compact(text, TRUST, TYP, "store", "dpo")
    with pytest.raises(SignatureError, match="trusted"):
        jws.verify_compact(jws.sign_compact(PAYLOAD, STRANGER, STRANGER.kid, TYP), TRUST, TYP)
    with pytest.raises(SignatureError):
        jws.sign_compact(PAYLOAD, EDGE, STORE.kid, TYP)


@pytest.mark.parametrize(
    "protected",
    [
        header(alg="EdDSA", kid=EDGE.kid, typ=TYP),
        header(alg="none", kid=EDGE.kid, typ=TYP),
        header(alg="Ed25519", kid=EDGE.kid),
        header(alg="Ed25519", kid=EDGE.kid, typ=TYP, crit=["b64"], b64=False),
        header(alg="Ed25519", kid=EDGE.kid, typ=TYP, jwk=EDGE.verify_key.jwk()),
        header(alg="Ed25519", kid=[EDGE.kid], typ=TYP),
        b64url(f'{{"alg":"Ed25519","kid":"{EDGE.kid}","kid":"{EDGE.kid}","typ":"{TYP}"}}'.encode()),
        b64url(b"[]"),
        b64url(b"not json"),
    ],
)
def test_headers_refused_although_truly_signed(protected: str) -> None:
    one = resigned(protected, EDGE)
    with pytest.raises(SignatureError):
        jws.verify_compact(f"{protected}.{b64url(PAYLOAD)}.{one['signature']}", TRUST, TYP)
    with pytest.raises(SignatureError):
        jws.verify_general({"payload": b64url(PAYLOAD), "signatures": [one]}, TRUST, TYP, Counter({"edge": 1}))


def test_general() -> None:
    document = signed(STORE, DPO)
    assert jws.verify_general(document, TRUST, TYP, NEED).payload == PAYLOAD
    assert jws.verify_general(json.dumps(document), TRUST, TYP, NEED).payload == PAYLOAD
    assert [one.role for one in jws.verify_general(signed(DPO, STORE), TRUST, TYP, NEED).signers] == ["dpo", "store"]
    assert jws.add_signature(signed(STORE), DPO, DPO.kid, TYP) == document
    assert jws.read_payload(document) == PAYLOAD


def test_alternatives() -> None:
    either: list[Counter[Role]] = [Counter({"dpo": 2}), Counter({"dpo": 1, "auditor": 1})]
    assert jws.verify_general(signed(DPO, DPO2), TRUST, TYP, either).payload == PAYLOAD
    for keys in ((DPO,), (DPO, DPO), (DPO, STORE)):
        with pytest.raises(SignatureError):
            jws.verify_general(signed(*keys), TRUST, TYP, either)


@pytest.mark.parametrize(
    "keys",
    [
        (),
        (STORE,),
        (DPO,),
        (STORE, STORE),
        (DPO, DPO),
        (DPO, DPO2),
        (STORE, DPO, DPO),
        (STORE, DPO, DPO2),
        (STORE, EDGE),
    ],
    ids=["none", "no dpo", "no store", "doubled", "dpo doubled", "two dpo", "one doubled", "one more", "wrong role"],
)
def test_general_counts(keys: tuple[SigningKey, ...]) -> None:
    with pytest.raises(SignatureError) as caught:
        jws.verify_general(signed(*keys), TRUST, TYP, NEED)
    assert caught.value.code == "auth.count"


def _swapped(document: dict[str, Any]) -> None:
    one, two = document["signatures"]
    one["signature"], two["signature"] = two["signature"], one["signature"]


def _same_key_twice(document: dict[str, Any]) -> None:
    document["signatures"][1] = document["signatures"][0]


@pytest.mark.parametrize(
    "change",
    [
        _swapped,
        _same_key_twice,
        lambda d: d["signatures"].pop(),
        lambda d: d["signatures"].append(d["signatures"][0]),
        lambda d: d["signatures"].append({"protected": "", "signature": ""}),
        lambda d: d["signatures"][0].update(header={"kid": STORE.kid}),
        lambda d: d["signatures"][0].update(signature=""),
        lambda d: d["signatures"][0].update(protected=header(alg="Ed25519", kid=STRANGER.kid, typ=TYP)),
        lambda d: d["signatures"].__setitem__(0, resigned(header(alg="Ed25519", kid=STORE.kid, typ=TYP), STRANGER)),
        lambda d: d["signatures"].__setitem__(0, "text"),
        lambda d: d.update(payload=b64url(b"{}")),
        lambda d: d.update(payload=None),
        lambda d: d.update(signatures={}),
        lambda d: d.update(header={}),
        lambda d: d.pop("payload"),
        lambda d: d.update(d["signatures"][0]),
    ],
)
def test_general_refuses(change: Any) -> None:
    document = copy.deepcopy(signed(STORE, DPO))
    change(document)
    with pytest.raises(SignatureError):
        jws.verify_general(document, TRUST, TYP, NEED)


def test_general_refuses_a_doubled_member() -> None:
    text = json.dumps(signed(STORE, DPO))
    with pytest.raises(JsonError):
        jws.verify_general('{"payload":"e30",' + text[1:], TRUST, TYP, NEED)


def test_nobody_is_never_enough() -> None:
    with pytest.raises(SignatureError):
        jws.verify_general(signed(), TRUST, TYP, Counter())


def test_joserfc_reads_ours_and_we_read_joserfc() -> None:
    """A foreign implementation in both directions."""
    public = OKPKey.import_key({**EDGE.verify_key.jwk(), "kid": EDGE.kid})
    text = jws.sign_compact(PAYLOAD, EDGE, EDGE.kid, TYP)
    assert jose.deserialize_compact(text, public, algorithms=["Ed25519"]).payload == PAYLOAD
    private = OKPKey.import_key(dict(EDGE.jwk()))
    foreign = jose.serialize_compact(
        {"alg": "Ed25519", "kid": EDGE.kid, "typ": TYP}, PAYLOAD, private, algorithms=["Ed25519"]
    )
    assert jws.verify_compact(foreign, TRUST, TYP).payload == PAYLOAD
    assert public.thumbprint() == EDGE.kid
    general: Any = signed(EDGE)
    assert jose.deserialize_json(general, public, algorithms=["Ed25519"]).payload == PAYLOAD


def test_keyset_round_trip_and_times() -> None:
    assert KeySet.load(TRUST.dump()) == TRUST
    assert [one.owner for one in TRUST.with_role("dpo")] == ["Jana", "Karel"]
    early = TRUST.active("2026-01-31T23:59:59.999Z")
    with pytest.raises(SignatureError):
        early.find(DPO2.kid)
    assert TRUST.active("2026-02-01T00:00:00.000Z").find(DPO2.kid, "dpo").owner == "Karel"


def _document(**change: Any) -> bytes:
    document = json.loads(TRUST.dump())
    document["keys"][1].update(change)
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    "data",
    [
        _document(kid=STORE.kid),
        _document(role="king"),
        _document(edge_id="pbx-9"),
        _document(retired="tomorrow"),
        _document(jwk=STORE.verify_key.jwk()),
        _document(jwk=DPO.jwk()),
        _document(note="x"),
        b'{"type":"callwarden-keyset/v2","keys":[]}',
        b"[]",
    ],
)
def test_bad_keysets(data: bytes) -> None:
    with pytest.raises(FormatError) as caught:
        KeySet.load(data)
    assert caught.value.code in ("auth.keyset", "auth.key")


def test_a_key_listed_twice_is_refused() -> None:
    document = json.loads(TRUST.dump())
    document["keys"].append({**document["keys"][0], "role": "dpo"})
    with pytest.raises(KeyFormatError, match="twice"):
        KeySet.load(json.dumps(document).encode())


def test_wycheproof_ed25519() -> None:
    for group, test in wycheproof("ed25519"):
        key = VerifyKey(bytes.fromhex(group["publicKey"]["pk"]))
        try:
            key.verify(bytes.fromhex(test["sig"]), bytes.fromhex(test["msg"]))
            valid = True
        except SignatureError:
            valid = False
        assert valid == (test["result"] == "valid"), test


def test_base64url_is_strict() -> None:
    assert unb64url("_-8") == b"\xff\xef"
    for bad in ("_-9", "_-8=", "/+8", "_-8\n", "a"):
        with pytest.raises(SignatureError):
            unb64url(bad)
    assert base64.urlsafe_b64decode("_-8=") == b"\xff\xef"


@given(st.text(alphabet="ABab09-_+/= \n\x00é", max_size=9))
def test_base64url_takes_what_the_standard_library_takes_and_is_canonical(text: str) -> None:
    try:
        there = base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
        wanted = there if base64.urlsafe_b64encode(there).rstrip(b"=").decode() == text else None
    except ValueError:
        wanted = None
    try:
        found = unb64url(text)
    except SignatureError:
        found = None
    assert found == wanted
    assert found is None or b64url(found) == text


def test_a_key_set_decodes_each_key_once() -> None:
    one = TRUST.entries[0]
    assert TRUST.key_of(one) is TRUST.key_of(one) == one.key


def test_a_header_in_another_spelling_is_read_too() -> None:
    for text in (
        f'{{"typ":"{TYP}","kid":"{STORE.kid}","alg":"Ed25519"}}',
        f'{{"alg":"Ed25519","kid":"{STORE.kid}", "typ":"{TYP}"}}',
    ):
        protected = b64url(text.encode())
        document = f"{protected}.{b64url(PAYLOAD)}.{resigned(protected, STORE)['signature']}"
        assert jws.verify_compact(document, TRUST, TYP, "store").payload == PAYLOAD
