"""Sealed headers: an age header is kept only under a shred key of its own, so that overwriting 32 bytes erases audio.

Sealed header = 12-byte nonce, then ChaCha20-Poly1305 of the header. The associated data, canonical JSON, binds it to its
recording, segment and header version, so a header moved to another row does not open.
"""

from __future__ import annotations

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from formats import canonical
from formats.errors import SealError

SHRED_KEY = 32
NONCE = 12


def _bound_to(recording_id: str, segment_id: str, version: int) -> bytes:
    return canonical.dumps({"recording_id": recording_id, "segment_id": segment_id, "version": version})


def seal_header(
    header: bytes, shred_key: bytes, nonce: bytes, recording_id: str, segment_id: str, version: int
) -> bytes:
    """`header` under `shred_key` (32 random bytes, used once) and `nonce` (12 random bytes).

    Raises ValueError where key or nonce has another length.
    """
    if len(shred_key) != SHRED_KEY or len(nonce) != NONCE:
        raise ValueError("a shred key is 32 bytes and its nonce 12")
    bound = _bound_to(recording_id, segment_id, version)
    return nonce + ChaCha20Poly1305(shred_key).encrypt(nonce, header, bound)


def unseal_header(sealed: bytes, shred_key: bytes, recording_id: str, segment_id: str, version: int) -> bytes:
    """The header. Raises SealError `vault.sealed_header` where the key was overwritten or the header belongs elsewhere."""
    try:
        bound = _bound_to(recording_id, segment_id, version)
        return ChaCha20Poly1305(shred_key).decrypt(sealed[:NONCE], sealed[NONCE:], bound)
    except (InvalidTag, ValueError) as error:
        raise SealError(
            "vault.sealed_header", "the sealed header does not open: its key is gone, or it belongs elsewhere"
        ) from error
