"""The CCTV testkit for age: every file, its outcome and what it released before a failure."""

from __future__ import annotations

import hashlib
import io

import pytest

from formats import age
from formats.errors import AgeError, ArmorError, HeaderError, MacError, NoMatchError, PayloadError
from tests.unit.formats.public_vectors import folder, need, read_age_vector

_FOLDER = folder("cctv-age")
_NAMES = sorted(path.name for path in _FOLDER.iterdir()) if _FOLDER else []
_ERRORS: dict[str, type[AgeError]] = {
    "armor failure": ArmorError,
    "header failure": HeaderError,
    "HMAC failure": MacError,
    "no match": NoMatchError,
    "payload failure": PayloadError,
}


def test_the_testkit_is_whole() -> None:
    vectors = [read_age_vector(path) for path in need("cctv-age").iterdir()]
    unread = {vector.name: vector.unknown for vector in vectors if vector.unknown}
    print(f"vectors with features that are not read: {unread or 'none'}")
    assert len(vectors) >= 143
    assert not unread
    assert {vector.expect for vector in vectors} == {*_ERRORS, "success"}


@pytest.mark.parametrize("name", _NAMES or ["all of them"])
def test_cctv(name: str) -> None:
    vector = read_age_vector(need("cctv-age") / name)
    identities: list[age.Identity] = [
        age.HybridIdentity.parse(text) if "-PQ-" in text else age.X25519Identity.parse(text)
        for text in vector.identities
    ]
    identities += [age.ScryptIdentity(passphrase) for passphrase in vector.passphrases]
    released = hashlib.sha256()
    try:
        data = age.dearmor(vector.data) if vector.armored else vector.data
        for chunk in age.decrypt_file(io.BytesIO(data), identities):
            released.update(chunk)
        outcome: type[AgeError] | None = None
    except AgeError as error:
        outcome = type(error)
    assert outcome == _ERRORS.get(vector.expect)
    if vector.payload is not None:
        assert released.hexdigest() == vector.payload
    if vector.expect in ("success", "HMAC failure", "no match") and not vector.armored:
        header = age.read_header(io.BytesIO(vector.data))
        assert vector.data.startswith(header.encode())
        stanzas = b"".join(stanza.encode() for stanza in header.stanzas)
        assert header.signed == b"age-encryption.org/v1\n" + stanzas + b"---"
    if vector.expect == "success" and vector.file_key is not None and not vector.armored:
        start = len(age.read_header(io.BytesIO(vector.data)).encode())
        nonce = vector.data[start : start + age.NONCE]
        plain = b"".join(age.decrypt_stream(vector.file_key, io.BytesIO(vector.data[start:])))
        again = b"".join(age.encrypt_stream(vector.file_key, nonce, io.BytesIO(plain)))
        assert again == vector.data[start:]
