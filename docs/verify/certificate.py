#!/usr/bin/env python3
"""Verify a deletion certificate without any code of Callwarden: `python3 certificate.py CERTIFICATE TRUST`.

Needs Python 3.11 and the package `cryptography`, for Ed25519 alone. Written from docs/spec/certificate.md and the pages it
names. Prints `holds` and exits with 0, or `does not hold` with the reason and 7.
"""

import base64
import hashlib
import json
import re
import sys

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


class Bad(Exception):
    """Why it does not hold."""


def need(holds, why):
    if not holds:
        raise Bad(why)


def once(pairs):
    """An object in which no member is twice."""
    need(len({name for name, _ in pairs}) == len(pairs), "a member is there twice")
    return dict(pairs)


def read(text):
    return json.loads(text, object_pairs_hook=once)


def canon(value):
    """RFC 8785 for what certificates are made of: objects with ASCII names, lists, texts, whole numbers, null."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def b64url(text):
    need(isinstance(text, str) and re.fullmatch(r"[A-Za-z0-9_-]*", text), "not base64url")
    raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    need(base64.urlsafe_b64encode(raw).decode().rstrip("=") == text, "not base64url in one spelling")
    return raw


def sha256(data):
    return hashlib.sha256(data).digest()


# ------------------------------------------------------------ keys


def load_trust(document):
    need(document["type"] == "callwarden-keyset/v1", "not a key set")
    keys = {}
    for one in document["keys"]:
        raw = b64url(one["jwk"]["x"])
        thumb = canon({"crv": "Ed25519", "kty": "OKP", "x": one["jwk"]["x"]})
        need(
            base64.urlsafe_b64encode(sha256(thumb)).decode().rstrip("=") == one["kid"],
            "a key is not named by its thumbprint",
        )
        need(one["kid"] not in keys, "a key is listed twice")
        keys[one["kid"]] = {**one, "raw": raw}
    return keys


def counts(key, at):
    return (key.get("not_before") or "") <= at and (key.get("retired") is None or at < key["retired"])


def check(key, signature, message):
    try:
        Ed25519PublicKey.from_public_bytes(key["raw"]).verify(signature, message)
    except InvalidSignature:
        raise Bad("a signature does not hold") from None


def header(protected, typ, keys, roles):
    value = read(b64url(protected))
    need(
        set(value) == {"alg", "kid", "typ"} and value["alg"] == "Ed25519" and value["typ"] == typ,
        "a header is not as demanded",
    )
    need(value["kid"] in keys, "a key is not trusted")
    key = keys[value["kid"]]
    need(not roles or key["role"] in roles, "a key has another role")
    return key


def compact(jws, typ, keys, roles):
    parts = jws.split(".")
    need(len(parts) == 3, "a signature has three parts")
    key = header(parts[0], typ, keys, roles)
    check(key, b64url(parts[2]), f"{parts[0]}.{parts[1]}".encode())
    payload = b64url(parts[1])
    value = read(payload)
    need(canon(value) == payload, "a payload is not canonical")
    return value, key


# ------------------------------------------------------------ the order and its receipts

DEMANDS = {
    "erase": [["dpo", "store"]],
    "many": [["dpo", "store"], ["dpo", "dpo", "store"]],
}


def check_order(order, keys):
    need(set(order) == {"payload", "signatures"} and order["signatures"], "an order has a payload and signatures")
    payload = b64url(order["payload"])
    claims = read(payload)
    need(canon(claims) == payload, "the order is not canonical")
    signers = []
    for one in order["signatures"]:
        need(set(one) == {"protected", "signature"}, "a signature of the order has other members")
        key = header(one["protected"], "callwarden-order+json", keys, ())
        need(counts(key, claims["iat"]), "a signer's key did not count when the order was issued")
        check(key, b64url(one["signature"]), f"{one['protected']}.{order['payload']}".encode())
        signers.append(key)
    need(len({one["kid"] for one in signers}) == len(signers), "one key signed twice")
    people = [one["owner"] for one in signers if one["role"] != "store"]
    need(len(set(people)) == len(people), "one person signed with two keys")
    need(claims["cmd"] == "erase", "the order destroys nothing")
    kind = "many" if claims["target"]["kind"] in ("person", "policy") else "erase"
    need(sorted(one["role"] for one in signers) in DEMANDS[kind], "the order's signatures are not those demanded")
    return claims, signers


def check_receipt(jws, order, order_claims, keys):
    claims, key = compact(jws, "callwarden-receipt+json", keys, ("edge",))
    need(key["edge_id"] == claims["edge_id"] and counts(key, claims["at"]), "a receipt is signed by another edge")
    ground = claims["evidence"].get("ground")
    if order is not None:
        need(ground is None, "a receipt says that nobody ordered it")
        need(
            claims["order_sha256"] == sha256(canon(order)).hex() and claims["jti"] == order_claims["jti"],
            "another order",
        )
    else:
        need(isinstance(ground, dict), "no order and no ground")
        digest = sha256(canon(ground)).hex()
        named = (claims["order_sha256"], claims["jti"], claims["recording_id"])
        need(named == (digest, digest[:32], ground["recording_id"]), "a receipt is about another ground")
        need(claims["result"] in ("done", "deferred"), "an erasure that nobody ordered is done or deferred")
    if claims["result"] == "done":
        many = (
            order is not None
            and order_claims["target"]["kind"] in ("person", "policy")
            and claims["recording_id"] is None
        )
        if many:
            need(
                isinstance(claims["evidence"].get("calls"), int) and claims["evidence"]["calls"] > 0,
                "done counts no calls",
            )
        else:
            need(claims["key_ids"] and set(claims["evidence"]) - {"ground"}, "done names no destroyed key")
    return claims, key


# ------------------------------------------------------------ what follows from the receipts

BEYOND = "sectors that a device remapped, and images of the whole machine"


def copies_of(claims, keys, media):
    if claims["recording_id"] is None:
        return

    def copy(place, state, at, evidence):
        return {
            "place": place, "recording_id": claims["recording_id"], "state": state, "at": at, "evidence": evidence,
            "receipt_id": claims["receipt_id"],
        }  # fmt: skip

    edge = f"edge/{claims['edge_id']}"
    yield copy(edge, "destroyed", claims["at"], "keys overwritten and read back, payload unlinked")
    yield copy(f"{edge}/medium", "unknown", None, BEYOND)
    keeper = claims["keeper_evidence"]
    if keeper is not None and "jws" in keeper:
        stated, _ = compact(keeper["jws"], "callwarden-keeper+json", keys, ("store",))
        need(
            (stated["recording_id"], stated["edge_id"]) == (claims["recording_id"], claims["edge_id"]),
            "another keeper's word",
        )
        need(stated["result"] in ("destroyed", "nothing_held"), "the keeper's copies are not gone")
        need(set(stated["key_ids"]) <= set(claims["key_ids"]), "the keeper destroyed other keys")
        yield copy("central/keeper", "destroyed", stated["at"], f"signed: {stated['result']}")
        yield copy("central/medium", "unknown", None, BEYOND)
        held = set(stated.get("media", []))
    else:
        held = set()
    mine = {one["sha512"]: one for one in media if one["recording_id"] == claims["recording_id"]}
    for sha512 in held | set(mine):
        if sha512 in mine:
            said = mine[sha512]
            evidence = f"signed: destroyed, sha512 {sha512[:16]}"
            yield copy(f"central/media/{said['place']}", "destroyed", said["at"], evidence)
        else:
            evidence = f"not removed yet; its keys are gone, sha512 {sha512[:16]}"
            yield copy("central/media", "unknown", None, evidence)
    if held or mine:
        yield copy("central/media/medium", "unknown", None, BEYOND)
    for one in claims["evidence"].get("copies", []):
        need(set(one) == {"place", "state", "at", "detail"}, "a copy is malformed")
        need(one["state"] in ("expires", "exported", "unknown"), "a copy elsewhere has another state")
        yield copy(f"{edge}/{one['place']}", one["state"], one["at"], one["detail"])


def gone_media(statements, done, keys):
    """What central signed about payloads that it kept, each once, each about a recording that is done."""
    about = {(one["recording_id"], one["edge_id"]) for one in done if one["recording_id"]}
    found = [compact(one, "callwarden-media+json", keys, ("store",))[0] for one in statements]
    for one in found:
        need((one["recording_id"], one["edge_id"]) in about, "a statement about another recording's media")
        need(one["result"] == "destroyed", "a payload is not said to be gone")
        need(
            all(isinstance(one[name], str) for name in ("sha512", "place", "at")),
            "a statement about media is malformed",
        )
    need(
        len({(one["recording_id"], one["sha512"]) for one in found}) == len(found), "a payload is said to be gone twice"
    )
    return found


def ends_later(copy):
    """Whether a copy may end after the keys did."""
    at_central = copy["place"].startswith("central/media") and copy["state"] == "destroyed"
    return copy["at"] and (copy["state"] == "expires" or at_central)


def facts_of(receipts, order, signers, keys, statements):
    need(len({(one["jti"], one["order_sha256"]) for one in receipts}) == 1, "the receipts answer different orders")
    need(len({one["receipt_id"] for one in receipts}) == len(receipts), "a receipt is there twice")
    edges = {one["edge_id"] for one in receipts}
    for edge in edges:
        numbers = sorted(one["n"] for one in receipts if one["edge_id"] == edge)
        need(numbers == list(range(len(numbers))), "a receipt is left out")
    done = [one for one in receipts if one["result"] == "done"]
    media = gone_media(statements, done, keys)
    copies = sorted((copy for one in done for copy in copies_of(one, keys, media)), key=canon)
    effective = max(one["at"] for one in done or receipts)
    last = [max((r for r in receipts if r["edge_id"] == edge), key=lambda r: r["n"]) for edge in sorted(edges)]
    kind = order["target"]["kind"] if order else "recording"
    for one in last:
        more = kind in ("person", "policy") and one["recording_id"] is not None
        more = more or (kind == "call" and one["result"] == "done" and one["evidence"].get("left") != 0)
        need(one["result"] != "deferred" and not more, "an edge's last word is left out")
    ground = receipts[0]["evidence"].get("ground")
    return {
        "jti": receipts[0]["jti"],
        "order_sha256": receipts[0]["order_sha256"],
        "fleet": order["fleet"] if order else None,
        "target": order["target"] if order else {"kind": "recording", "id": ground["recording_id"]},
        "reason": order["reason"] if order else ground["cause"],
        "case_ref": order.get("case_ref") if order else None,
        "actors": sorted(({n: one[n] for n in ("kid", "role", "owner")} for one in signers), key=lambda a: a["kid"]),
        "recordings": sorted(
            (
                {
                    **{name: one[name] for name in ("recording_id", "edge_id", "receipt_id", "at")},
                    "key_ids": sorted(one["key_ids"]),
                    "manifest_sha256": one["evidence"].get("manifest_sha256"),
                }
                for one in done
                if one["recording_id"]
            ),
            key=canon,
        ),
        "calls": {
            one["edge_id"]: one["evidence"]["calls"]
            for one in done
            if one["recording_id"] is None and isinstance(one["evidence"].get("calls"), int)
        },
        "copies": copies,
        "failed": [
            {"edge_id": one["edge_id"], "result": one["result"], "reason": one["reason"]}
            for one in last
            if one["result"] not in ("done", "already")
        ],
        "effective_at": effective,
        "final_at": max([effective, *(one["at"] for one in copies if ends_later(one))]),
    }


# ------------------------------------------------------------ the audit logs


def note_key_id(name, kind, raw):
    return sha256(name.encode() + b"\n" + bytes([kind]) + raw)[:4]


def signed_note(text, name, key, witnesses):
    """The checkpoint's lines, and whether a witness cosigned (C2SP signed-note, tlog-checkpoint, tlog-cosignature)."""
    body, gap, lines = text.partition("\n\n")
    need(gap, "a note has no signatures")
    body += "\n"
    own = cosigned = False
    for line in lines.strip("\n").split("\n"):
        dash, who, blob = line.split(" ")
        need(dash == "\u2014", "a signature line is malformed")
        raw = base64.b64decode(blob, validate=True)
        if who == name and raw[:4] == note_key_id(name, 1, key["raw"]):
            check(key, raw[4:], body.encode())
            own = True
        for one in witnesses:
            if who == one["owner"] and raw[:4] == note_key_id(who, 4, one["raw"]):
                at = int.from_bytes(raw[4:12], "big")
                check(one, raw[12:], f"cosignature/v1\ntime {at}\n{body}".encode())
                cosigned = True
    need(own, "a checkpoint is not signed by its log")
    origin, size, root = body.split("\n")[:3]
    need(origin == name, "a checkpoint is of another log")
    return int(size), base64.b64decode(root, validate=True), cosigned


def included(leaf, index, size, path, root):
    """RFC 9162, 2.1.3.2."""
    need(index < size, "an entry is not in the log")
    fn, sn, found = index, size - 1, leaf
    for step in path:
        need(sn > 0, "a proof is too long")
        if fn & 1 or fn == sn:
            found = sha256(b"\x01" + step + found)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            found = sha256(b"\x01" + found + step)
        fn, sn = fn >> 1, sn >> 1
    need(sn == 0 and found == root, "a proof does not lead to the root")


def check_log(log, receipts, keys):
    by_id = {one["receipt_id"]: (one, key) for one, key in receipts}
    witnesses = [one for one in keys.values() if one["role"] == "witness"]
    seen, witnessed = set(), True
    for one in log:
        need(set(one) == {"receipt_id", "entry", "proof"}, "a log entry is malformed")
        need(one["receipt_id"] in by_id and one["receipt_id"] not in seen, "a log entry is about another receipt")
        seen.add(one["receipt_id"])
        claims, key = by_id[one["receipt_id"]]
        entry = read(one["entry"])
        body = entry["body"]
        if entry["kind"] == "recording.erased":
            same = (body["receipt_id"], body["recording_id"]) == (claims["receipt_id"], claims["recording_id"])
        else:
            same = entry["kind"] == "order.answered"
            same = same and (body["jti"], body["n"], body["result"]) == (claims["jti"], claims["n"], claims["result"])
        need(same, "a log entry is not the one of its receipt")
        head, gap, note = one["proof"].partition("\n\n")
        lines = head.split("\n")
        need(gap and lines[0] == "c2sp.org/tlog-proof@v1" and lines[1].startswith("index "), "a proof is malformed")
        path = [base64.b64decode(line, validate=True) for line in lines[2:]]
        origin = note.split("\n")[0]
        need(origin.split("/")[:2] == ["callwarden", claims["edge_id"]], "a log entry is of another edge's log")
        size, root, cosigned = signed_note(note, origin, key, witnesses)
        included(sha256(b"\x00" + one["entry"].encode()), int(lines[1][6:]), size, path, root)
        witnessed = witnessed and cosigned
    return witnessed and bool(seen), len(seen)


# ------------------------------------------------------------ the certificate


TIME = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z"


def check_outstanding(edges, answered):
    """Edges that a certificate says nothing about: it is interim, or they were revoked."""
    need(isinstance(edges, list) and edges, "no edge is outstanding")
    for one in edges:
        need(set(one) == {"edge_id", "since"}, "an outstanding edge is malformed")
        need(isinstance(one["edge_id"], str) and re.fullmatch(TIME, one["since"]), "an outstanding edge is malformed")
    names = [one["edge_id"] for one in edges]
    need(names == sorted(set(names)) and not answered & set(names), "an edge is outstanding and has answered")


def verify(document, keys):
    need(set(document) == {"type", "claims", "jws", "order", "receipts"}, "the document has other members")
    need(document["type"] == "callwarden-certificate/v1", "not a certificate")
    claims, issuer = compact(document["jws"], "callwarden-certificate+json", keys, ("store", "edge"))
    need(claims == document["claims"], "what is shown is not what was signed")
    need(counts(issuer, claims["at"]), "the issuer's key did not count then")
    order = document["order"]
    order_claims, signers = check_order(order, keys) if order is not None else (None, [])
    need(document["receipts"], "there are no receipts")
    receipts = [check_receipt(one, order, order_claims, keys) for one in document["receipts"]]
    statements = claims.get("media", [])
    facts = facts_of([one for one, _ in receipts], order_claims, signers, keys, statements)
    own = {"certificate_id", "at", "issuer", "level", "log"} | ({"media"} if statements else set())
    if "outstanding" in claims:
        own.add("outstanding")
        need(issuer["role"] == "store", "central alone says which edges are outstanding")
        check_outstanding(claims["outstanding"], {one["edge_id"] for one, _ in receipts})
    need(set(claims) == set(facts) | own, "the claims have other members")
    need(
        {name: one for name, one in claims.items() if name not in own} == facts,
        "the claims are not what the receipts say",
    )
    need(claims["issuer"] == ("central" if issuer["role"] == "store" else issuer["edge_id"]), "another issuer")
    if issuer["role"] == "edge":
        need({one["edge_id"] for one, _ in receipts} == {issuer["edge_id"]}, "an edge certifies its own receipts only")
    need(type(claims["level"]) is int and 0 <= claims["level"] <= 3, "no such level")
    need(claims["at"] >= claims["effective_at"], "older than what it certifies")
    return check_log(claims["log"], receipts, keys)


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        document = read(file.read())
    with open(sys.argv[2], encoding="utf-8") as file:
        keys = load_trust(read(file.read()))
    try:
        witnessed, logged = verify(document, keys)
    except (Bad, KeyError, ValueError, TypeError, AttributeError, IndexError) as error:
        print(f"does not hold: {error}")
        return 7
    print(
        f"holds: {len(document['receipts'])} receipts, {logged} in logs, {'witnessed' if witnessed else 'self-witnessed'}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
