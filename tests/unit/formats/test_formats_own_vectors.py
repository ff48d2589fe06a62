"""The project's own vectors (tests/vectors): still what the code makes, and each with the outcome it states."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from formats import age, manifest, merkle, orders, shred
from formats.certificate import entries_of, open_certificate
from formats.checkpoint import EntryProof, open_checkpoint
from formats.errors import AgeError, FormatError, PayloadError, ProofError, ReceiptError, SealError
from formats.keyset import KeySet
from formats.merkle import leaf_hash
from formats.note import NoteKey
from formats.place import Place
from formats.suites import AES256GCM, AGE1, Suite
from tests.vectors.make import FILES, plain, render, tags_hash

VERIFIER = Path(__file__).parents[3] / "docs" / "verify" / "certificate.py"
FOLDER = Path(__file__).parents[2] / "vectors"


def read(name: str) -> Any:
    return json.loads((FOLDER / name).read_text(encoding="utf-8"))


def trust(document: Any) -> KeySet:
    return KeySet.load(json.dumps(document["keyset"]).encode())


@pytest.mark.parametrize("name", sorted(FILES))
def test_files_are_what_the_code_makes(name: str) -> None:
    assert (FOLDER / name).read_text(encoding="utf-8") == render(name), "run: python -m tests.vectors.make"


def _damaged(payload: bytes, failure: dict[str, Any], suite: Suite = AGE1) -> bytes:
    prefix, body = payload[: suite.prefix], payload[suite.prefix :]
    chunks = [body[at : at + suite.enc_chunk] for at in range(0, len(body), suite.enc_chunk)]
    match failure["op"]:
        case "cut":
            return payload[: failure["to"]]
        case "append":
            return payload + bytes.fromhex(failure["hex"])
        case "flip":
            at = failure["at"]
            return payload[:at] + bytes([payload[at] ^ 1]) + payload[at + 1 :]
        case "swap":
            one, two = failure["chunks"]
            chunks[one], chunks[two] = chunks[two], chunks[one]
        case "drop":
            del chunks[failure["chunk"]]
        case "repeat":
            chunks.insert(failure["chunk"], chunks[failure["chunk"]])
    return prefix + b"".join(chunks)


def test_age_detached() -> None:
    document = read("age-detached.json")
    identity = age.X25519Identity.parse(document["identity"])
    file_key = age.open_header(document["header"].encode(), [identity])
    assert file_key.hex() == document["file_key"]
    assert manifest.key_id(file_key).hex() == document["key_id"]
    nonce = bytes.fromhex(document["nonce"])
    made = {}
    for one in document["payloads"]:
        length = one["length"]
        made[length] = b"".join(age.encrypt_stream(file_key, nonce, io.BytesIO(plain(length))))
        assert len(made[length]) == one["size"]
        assert hashlib.sha512(made[length]).hexdigest() == one["sha512"]
        assert tags_hash(made[length]) == one["tags_hash"]
    for failure in document["failures"]:
        with pytest.raises(PayloadError):
            list(age.decrypt_stream(file_key, io.BytesIO(_damaged(made[failure["length"]], failure))))


def test_aes256gcm() -> None:
    document = read("aes256gcm.json")
    place = Place(document["recording_id"], document["segment_id"])
    file_key, salt = bytes.fromhex(document["file_key"]), bytes.fromhex(document["salt"])
    assert manifest.key_id(file_key).hex() == document["key_id"]
    for prefix in ("", "hybrid_"):
        identities = age.parse_identities(document[f"{prefix}identity"])
        assert AES256GCM.open_header(document[f"{prefix}header"].encode(), identities, place) == file_key
    made = {}
    for one in document["payloads"]:
        made[one["length"]] = data = b"".join(AES256GCM.write(file_key, salt, place, io.BytesIO(plain(one["length"]))))
        assert (len(data), hashlib.sha512(data).hexdigest()) == (one["size"], one["sha512"])
        assert b"".join(AES256GCM.read(file_key, place, io.BytesIO(data))) == plain(one["length"])
    for failure in document["failures"]:
        data, key, where = made[failure["length"]], file_key, place
        match failure["op"]:
            case "key":
                key = bytes.fromhex(failure["file_key"])
            case "place":
                where = Place(failure["recording_id"], failure["segment_id"])
            case _:
                data = _damaged(data, failure, AES256GCM)
        with pytest.raises(AgeError):
            list(AES256GCM.read(key, where, io.BytesIO(data)))
    for one in document["bad_headers"]:
        where = Place(one.get("recording_id", place.recording_id), one.get("segment_id", place.segment_id))
        identities = age.parse_identities(one.get("identity", document["identity"]))
        with pytest.raises(AgeError):
            AES256GCM.open_header(one["header"].encode(), identities, where)


def _unseal(one: dict[str, Any]) -> bytes:
    key, sealed = bytes.fromhex(one["shred_key"]), bytes.fromhex(one["sealed"])
    return shred.unseal_header(sealed, key, one["recording_id"], one["segment_id"], one["version"])


def test_sealed_headers() -> None:
    document = read("sealed-header.json")
    for one in document["valid"]:
        assert _unseal(one).decode() == one["header"]
    for one in document["invalid"]:
        with pytest.raises(SealError):
            _unseal(one)


def test_manifests() -> None:
    document = read("manifest.json")
    for one in document["valid"]:
        assert manifest.verify_manifest(one["jws"], trust(document)).recording_id == one["manifest"]["recording_id"]
    for one in document["invalid"]:
        with pytest.raises(FormatError):
            manifest.verify_manifest(one["jws"], trust(document))


def test_orders() -> None:
    document = read("orders.json")
    opening = orders.Person.of_document(document["person"]["opening"], document["person"]["id"])
    assert opening.packed().hex() == document["person"]["slot"]
    assert orders.Person.unpacked(opening.packed()) == opening
    for one in document["valid"]:
        assert orders.verify_order(one["order"], trust(document), now=document["now"]).sha256 == one["sha256"]
    for one in document["invalid"]:
        with pytest.raises(FormatError):
            orders.verify_order(one["order"], trust(document), now=document["now"])
    brought = document["deliveries"]
    for jws in brought["valid"]:
        orders.verify_delivery(jws, trust(document), aud=brought["aud"], now=document["now"])
    for one in brought["invalid"]:
        with pytest.raises(FormatError):
            orders.verify_delivery(one["jws"], trust(document), aud=brought["aud"], now=document["now"])


def test_receipts() -> None:
    document = read("receipts.json")
    for one in document["valid"]:
        assert orders.verify_receipt_document(one, trust(document)).result == "done"
    for one in document["invalid"]:
        with pytest.raises(ReceiptError):
            orders.verify_receipt_document(one["document"], trust(document))


def test_audit_log() -> None:
    document = read("audit-log.json")
    log, witness = NoteKey.parse(document["log"]), NoteKey.parse(document["witness"])
    leaves = [leaf_hash(one.encode()) for one in document["entries"]]
    roots = [bytes.fromhex(one) for one in document["roots"]]
    assert roots == [merkle.root_of(leaves[:size]) for size in range(8)]
    for one in document["inclusion"]:
        path = [bytes.fromhex(h) for h in one["proof"]]
        merkle.verify_inclusion(leaves[one["index"]], one["index"], one["size"], path, roots[one["size"]])
    for one in document["consistency"]:
        first, second = one["first"], one["second"]
        merkle.verify_consistency(first, second, roots[first], roots[second], [bytes.fromhex(h) for h in one["proof"]])
    seen = open_checkpoint(document["checkpoint"], log, [witness])
    assert (seen.checkpoint.root, seen.self_witnessed) == (roots[7], False)
    fork = open_checkpoint(document["fork"], log).checkpoint
    proof = [bytes.fromhex(h) for h in document["consistency"][2]["proof"]]
    with pytest.raises(ProofError):
        merkle.verify_consistency(3, 7, roots[3], fork.root, proof)
    with pytest.raises(ProofError):
        open_checkpoint(document["not signed by the log"], log, [witness])
    assert EntryProof.parse(document["proof of entry 3"]).verify(b'{"n":3}', log, [witness]).witnesses


def test_certificates() -> None:
    document = read("certificates.json")
    for one in document["valid"]:
        proven = open_certificate(one["document"], trust(document))
        assert (proven.witnessed, proven.logged) == (one["witnessed"], one["logged"])
    for one in document["invalid"]:
        with pytest.raises(ReceiptError):
            open_certificate(one["document"], trust(document))


def test_entries_of_receipts_are_found_in_one_pass_over_a_log() -> None:
    document = read("certificates.json")
    good = document["valid"][0]["document"]
    receipts = [orders.verify_receipt(one, trust(document))[0] for one in good["receipts"]]
    log = {one["receipt_id"]: one["entry"] for one in good["claims"]["log"]}
    jti = receipts[0].jti
    others = [
        f'["{jti}"]',
        f'{{"body":["{jti}"],"kind":"order.answered"}}',
        f'{{"body":{{"jti":["{jti}"],"n":[0],"receipt_id":{{}}}},"kind":"order.answered"}}',
        f'{{"body":{{"jti":"{jti}","n":0,"result":"already"}},"kind":"order.answered"}}',
        "no JSON, and not read: it names nobody",
    ]
    for own in ([one for one in receipts if one.edge_id == edge_id] for edge_id in ("pbx-1", "pbx-2")):
        entries = [*others, *(log[one.receipt_id] for one in own), log[own[0].receipt_id]]
        found = entries_of(iter(enumerate(entries)), own)
        assert {name: entry for name, (_, entry, _) in found.items()} == {n.receipt_id: log[n.receipt_id] for n in own}
        assert found[own[0].receipt_id][0] == len(others), "the first that is there"
    assert entries_of(iter(enumerate(others)), receipts) == {}


def test_certificates_by_a_verifier_that_shares_no_code(tmp_path: Path) -> None:
    document = read("certificates.json")
    (tmp_path / "trust.json").write_text(json.dumps(document["keyset"]))
    for number, one in enumerate([*document["valid"], *document["invalid"]]):
        file = tmp_path / f"{number}.json"
        file.write_text(json.dumps(one["document"]))
        done = subprocess.run(
            [sys.executable, "-I", str(VERIFIER), str(file), str(tmp_path / "trust.json")],
            capture_output=True,
            text=True,
        )
        expected = "holds" if "why" not in one else "does not hold"
        assert done.stdout.startswith(expected), (one.get("why"), done.stdout, done.stderr)
        assert done.returncode == (0 if "why" not in one else 7)
