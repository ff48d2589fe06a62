"""RFC 9180 once more, from the RFC alone: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM, base mode, one shot.

The product uses the library's HPKE. This one takes its ephemeral key as an argument, so that vectors can be made anew, and
it shares no code with what it is held against.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Sequence
from itertools import pairwise

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from formats.place import Place

_KEM = b"KEM" + (0x0020).to_bytes(2, "big")
_HPKE = b"HPKE" + (0x0020).to_bytes(2, "big") + (0x0001).to_bytes(2, "big") + (0x0002).to_bytes(2, "big")


def _extract(salt: bytes, ikm: bytes) -> bytes:
    return hmac.new(salt or bytes(32), ikm, hashlib.sha256).digest()


def _expand(prk: bytes, info: bytes, length: int) -> bytes:
    out, block, count = b"", b"", 0
    while len(out) < length:
        count += 1
        block = hmac.new(prk, block + info + bytes([count]), hashlib.sha256).digest()
        out += block
    return out[:length]


def _labeled_extract(suite: bytes, salt: bytes, label: bytes, ikm: bytes) -> bytes:
    return _extract(salt, b"HPKE-v1" + suite + label + ikm)


def _labeled_expand(suite: bytes, prk: bytes, label: bytes, info: bytes, length: int) -> bytes:
    return _expand(prk, length.to_bytes(2, "big") + b"HPKE-v1" + suite + label + info, length)


def seal(plaintext: bytes, public: bytes, info: bytes, ephemeral: bytes) -> tuple[bytes, bytes]:
    """(encapsulated key, ciphertext) of `plaintext` for an X25519 key of 32 bytes (RFC 9180, sections 4.1, 5.1, 6.1)."""
    secret = X25519PrivateKey.from_private_bytes(ephemeral)
    enc = secret.public_key().public_bytes_raw()
    key, nonce = _schedule(secret.exchange(X25519PublicKey.from_public_bytes(public)), enc, public, info)
    return enc, AESGCM(key).encrypt(nonce, plaintext, b"")


def unseal(enc: bytes, sealed: bytes, private: bytes, info: bytes) -> bytes:
    """What `seal` sealed for this private key. Raises cryptography's InvalidTag."""
    own = X25519PrivateKey.from_private_bytes(private)
    shared = own.exchange(X25519PublicKey.from_public_bytes(enc))
    key, nonce = _schedule(shared, enc, own.public_key().public_bytes_raw(), info)
    return AESGCM(key).decrypt(nonce, sealed, b"")


def _schedule(dh: bytes, enc: bytes, public: bytes, info: bytes) -> tuple[bytes, bytes]:
    """(key, base nonce) of the one message."""
    eae = _labeled_extract(_KEM, b"", b"eae_prk", dh)
    shared = _labeled_expand(_KEM, eae, b"shared_secret", enc + public, 32)
    psk_id, hashed = (
        _labeled_extract(_HPKE, b"", label, value) for label, value in ((b"psk_id_hash", b""), (b"info_hash", info))
    )
    context = b"\0" + psk_id + hashed
    prk = _labeled_extract(_HPKE, shared, b"secret", b"")
    return _labeled_expand(_HPKE, prk, b"key", context, 32), _labeled_expand(_HPKE, prk, b"base_nonce", context, 12)


def _b64(data: bytes) -> bytes:
    return base64.b64encode(data).rstrip(b"=")


def _unb64(data: bytes) -> bytes:
    return base64.b64decode(data + b"=" * (-len(data) % 4))


def open_header(header: bytes, private: bytes, place: Place) -> bytes:
    """The file key out of a header of docs/spec/aes256gcm.md, for one X25519 key, from its text alone.

    Raises AssertionError where no stanza opens or the MAC is another.
    """
    at = place.recording_id.encode() + b"/" + place.segment_id.encode()
    signed, end, mac = header.partition(b"---")
    lines = signed.split(b"\n")
    assert lines[0] == b"callwarden/aes256gcm/v1"
    for head, body in pairwise(lines):
        if not head.startswith(b"-> hpke-x25519 "):
            continue
        try:
            enc = _unb64(head.split(b" ")[2])
            file_key = unseal(enc, _unb64(body), private, b"callwarden/aes256gcm/v1/file-key\0" + at)
        except InvalidTag:
            continue
        mac_key = _expand(_extract(b"", file_key), b"callwarden/aes256gcm/v1/header", 32)
        assert hmac.new(mac_key, signed + end, hashlib.sha256).digest() == _unb64(mac.strip())
        return file_key
    raise AssertionError("no stanza is for this key")


def open_payload(data: bytes, file_key: bytes, place: Place, *, whole: bool) -> bytes:
    """The plaintext of a payload of docs/spec/aes256gcm.md, from its text alone. whole: the last chunk must be there, and is
    short; without it (the manifest says `truncated`) every chunk must be whole. Raises AssertionError, InvalidTag."""
    at = place.recording_id.encode() + b"/" + place.segment_id.encode()
    salt, commitment, rest = data[:24], data[24:56], data[56:]
    info = b"c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\0" + salt + b"callwarden/aes256gcm/v1/payload\0" + at
    derived = HKDFExpand(hashes.SHA512(), 76, info).derive(file_key)
    assert derived[44:] == commitment
    base, plain = int.from_bytes(derived[32:44], "big"), []
    for number, offset in enumerate(range(0, len(rest), 16400)):
        nonce = (base ^ number).to_bytes(12, "big")
        plain.append(AESGCM(derived[:32]).decrypt(nonce, rest[offset : offset + 16400], b""))
    sizes = [len(one) for one in plain]
    assert all(size == 16384 for size in (sizes[:-1] if whole else sizes))
    assert not whole or sizes[-1] < 16384
    return b"".join(plain)


def seal_header(file_key: bytes, recipients: Sequence[bytes], place: Place, *, ephemeral: bytes) -> bytes:
    """A header of docs/spec/aes256gcm.md for X25519 keys, from its text alone."""
    at = place.recording_id.encode() + b"/" + place.segment_id.encode()
    signed = b"callwarden/aes256gcm/v1\n"
    for number, public in enumerate(recipients):
        own = hashlib.sha256(ephemeral + bytes([number])).digest()
        enc, body = seal(file_key, public, b"callwarden/aes256gcm/v1/file-key\0" + at, own)
        signed += b"-> hpke-x25519 " + _b64(enc) + b"\n" + _b64(body) + b"\n\n"
    signed += b"---"
    mac_key = _expand(_extract(b"", file_key), b"callwarden/aes256gcm/v1/header", 32)
    return signed + b" " + _b64(hmac.new(mac_key, signed, hashlib.sha256).digest()) + b"\n"
