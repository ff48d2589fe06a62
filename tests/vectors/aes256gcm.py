"""The vectors of docs/spec/aes256gcm.md, for `tests.vectors.make`."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

from formats import age, manifest, suites
from formats.place import Place
from tests.vectors.hpke_reference import seal_header

HYBRID = Path(__file__).with_name("aes256gcm-hybrid.header")


def aes256gcm(plain: Callable[[int], bytes]) -> Any:
    """Payloads of the suite by length, headers of both kinds, and what is done to them in the failures.

    The X25519 header is made by the RFC's own steps (`hpke_reference`); the hybrid one was made once, because no library
    encapsulates without drawing.
    """
    suite, place = suites.AES256GCM, Place("aa" * 16, "bb" * 16)
    file_key, salt = bytes(range(32)), bytes(range(32, 56))
    x25519, hybrid = age.X25519Identity.generate(bytes([7]) * 32), age.HybridIdentity.generate(bytes([8]) * 32)
    other = age.X25519Identity.generate(bytes([9]) * 32)
    public = [other.recipient().public, x25519.recipient().public]
    header = seal_header(file_key, public, place, ephemeral=bytes([9]) * 32).decode()
    first, *lines = header.split("\n")
    stanzas = ["\n".join(lines[at : at + 3]) for at in (0, 3)]
    last = lines[6]
    payloads: list[dict[str, Any]] = []
    for length in (0, 1, 16383, 16384, 16385, 32768, 32769):
        data = b"".join(suite.write(file_key, salt, place, io.BytesIO(plain(length))))
        tags = manifest.TAGS_HASH_START
        for at in range(suite.prefix, len(data), suite.enc_chunk):
            tags = manifest.extend_tags_hash(tags, data[at : at + suite.enc_chunk][-suites.TAG :])
        digest = hashlib.sha512(data).hexdigest()
        payloads.append({"length": length, "size": len(data), "sha512": digest, "tags_hash": tags.hex()})
    one = 56 + 16400
    failures: list[dict[str, Any]] = [
        {"length": 0, "op": "cut", "to": 56},
        {"length": 0, "op": "cut", "to": 55},
        {"length": 16384, "op": "cut", "to": one},
        {"length": 16384, "op": "cut", "to": one + 15},
        {"length": 32769, "op": "cut", "to": one + 16400},
        {"length": 16384, "op": "append", "hex": "00"},
        {"length": 16385, "op": "append", "hex": "00" * 16},
        {"length": 1, "op": "flip", "at": 0},
        {"length": 1, "op": "flip", "at": 24},
        {"length": 32769, "op": "flip", "at": 56},
        {"length": 32769, "op": "flip", "at": one + 100},
        {"length": 32768, "op": "flip", "at": 56 + 2 * 16400},
        {"length": 32768, "op": "swap", "chunks": [0, 1]},
        {"length": 32769, "op": "drop", "chunk": 1},
        {"length": 32769, "op": "repeat", "chunk": 0},
        {"length": 1, "op": "key", "file_key": bytes(32).hex()},
        {"length": 1, "op": "place", "recording_id": "bb" * 16, "segment_id": "bb" * 16},
        {"length": 1, "op": "place", "recording_id": "aa" * 16, "segment_id": "aa" * 16},
    ]

    def joined(*parts: str) -> str:
        return "\n".join(parts) + "\n"

    bad_headers: list[dict[str, Any]] = [
        {"why": "a stanza was taken out", "header": joined(first, stanzas[1], last)},
        {"why": "the stanzas were swapped", "header": joined(first, stanzas[1], stanzas[0], last)},
        {"why": "another version", "header": header.replace("/v1", "/v2")},
        {"why": "an age header", "header": header.replace(first, "age-encryption.org/v1")},
        {"why": "a stanza of another type", "header": header.replace("-> hpke-x25519", "-> X25519")},
        {"why": "bytes follow", "header": header + "\n"},
        {"why": "the MAC was altered", "header": joined(first, *stanzas, "--- " + "A" * 43)},
        {"why": "another segment's", "header": header, "segment_id": "aa" * 16},
        {"why": "another recording's", "header": header, "recording_id": "bb" * 16},
        {"why": "another identity", "header": header, "identity": str(age.X25519Identity.generate(bytes(32)))},
    ]
    return {
        "recording_id": place.recording_id,
        "segment_id": place.segment_id,
        "file_key": file_key.hex(),
        "salt": salt.hex(),
        "key_id": manifest.key_id(file_key).hex(),
        "identity": str(x25519),
        "header": header,
        "hybrid_identity": str(hybrid),
        "hybrid_header": HYBRID.read_text(encoding="ascii"),
        "payloads": payloads,
        "failures": failures,
        "bad_headers": bad_headers,
    }
