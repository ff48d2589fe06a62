"""Suite `aes256gcm` against other hands: Wycheproof's Cobblestone-256, the library's own stream, and RFC 9180 by itself."""

from __future__ import annotations

import hashlib
import hmac
import io
import random
import zlib

import pytest
from cryptography.cobblestone import Cobblestone256Decryptor, Cobblestone256Encryptor
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from formats import aesgcm
from formats.age import HybridIdentity, ScryptIdentity, ScryptRecipient, X25519Identity
from formats.age.primitives import b64encode
from formats.errors import AgeError, HeaderError, KeyFormatError, MacError, SealError
from formats.place import Place
from formats.suites import AES256GCM
from tests.unit.formats.public_vectors import wycheproof
from tests.vectors.hpke_reference import seal_header

PLAIN = random.Random(3).randbytes(3 * aesgcm.CHUNK + 7)
LENGTHS = (0, 1, 16383, 16384, 16385, 32768, 32769, 3 * 16384 + 7)
KEY, SALT = bytes(range(32)), bytes(range(24))
PLACE = Place("ab" * 16, "cd" * 16)
CONTEXT = b"callwarden/aes256gcm/v1/payload\0" + b"ab" * 16 + b"/" + b"cd" * 16
IDENTITY = X25519Identity.generate(bytes([7]) * 32)


def _encrypt(plain: bytes, key: bytes, salt: bytes, context: bytes) -> bytes:
    sealer = aesgcm.ChunkSealer(key, salt, context)
    count = len(plain) // aesgcm.CHUNK + 1
    chunks = [plain[n * aesgcm.CHUNK : (n + 1) * aesgcm.CHUNK] for n in range(count)]
    return sealer.prefix + b"".join(sealer.seal(n, chunk, n == count - 1) for n, chunk in enumerate(chunks))


def test_wycheproof_cobblestone_256() -> None:
    for _, test in wycheproof("c2sp_chunked_encryption_aes_256_gcm"):
        key, context = bytes.fromhex(test["key"]), bytes.fromhex(test["ctx"])
        payload = zlib.decompress(bytes.fromhex(test["ct"]))
        released: list[bytes] = []
        try:
            released.extend(aesgcm.decrypt_stream(key, io.BytesIO(payload), context))
        except AgeError:
            assert test["result"] == "invalid", test["tcId"]
        except ValueError:
            assert "InvalidKeySize" in test["flags"], test["tcId"]
        else:
            assert test["result"] == "valid", test["tcId"]
        plain = b"".join(released)
        if test["result"] == "valid":
            assert (len(plain), hashlib.sha512(plain).hexdigest()) == (test["msgLength"], test["msgSha512"])
            assert _encrypt(plain, key, payload[:24], context) == payload
        elif "PartialPlaintext" in test["flags"]:
            assert (len(plain), hashlib.sha512(plain).hexdigest()) == (test["msgLength"], test["msgSha512"])
        else:
            assert plain == b"", test["tcId"]


@pytest.mark.parametrize("length", LENGTHS)
def test_the_librarys_stream_reads_ours_and_we_its(length: int) -> None:
    ours = b"".join(AES256GCM.write(KEY, SALT, PLACE, io.BytesIO(PLAIN[:length])))
    reader = Cobblestone256Decryptor(KEY, CONTEXT)
    assert reader.update(ours) + reader.finalize() == PLAIN[:length]
    writer = Cobblestone256Encryptor(KEY, CONTEXT)
    theirs = writer.update(PLAIN[:length]) + writer.finalize()
    assert b"".join(AES256GCM.read(KEY, PLACE, io.BytesIO(theirs))) == PLAIN[:length]
    assert len(theirs) == AES256GCM.payload_size(length)


def test_the_number_of_chunks_has_its_limit() -> None:
    sealer = aesgcm.ChunkSealer(KEY, SALT, b"")
    sealer.seal(2**38 - 1, b"", last=True)
    for index in (2**38, -1):
        with pytest.raises(SealError):
            sealer.seal(index, b"", last=True)


def test_a_header_made_by_rfc_9180_alone_opens() -> None:
    """HPKE written down once more, from the RFC: what another implementation would make."""
    made = seal_header(KEY, [IDENTITY.recipient().public], PLACE, ephemeral=bytes([9]) * 32)
    assert aesgcm.open_header(made, [IDENTITY], PLACE) == KEY


def test_low_order_shares_stop_the_reader() -> None:
    for identity, kind, share in (
        (IDENTITY, "hpke-x25519", bytes(32)),
        (HybridIdentity.generate(bytes(32)), "hpke-mlkem768x25519", bytes(1120)),
    ):
        stanza = f"-> {kind} {b64encode(share)}\n{b64encode(bytes(48))}\n\n---".encode()
        with pytest.raises(HeaderError, match="low order"):
            aesgcm.open_header(
                aesgcm.VERSION + stanza + b" " + b64encode(bytes(32)).encode() + b"\n", [identity], PLACE
            )


@pytest.mark.parametrize(
    "stanza",
    [
        "-> X25519 " + b64encode(bytes(32)) + "\n" + b64encode(bytes(32)),
        "-> hpke-x25519 " + b64encode(bytes(32)) + "\n" + b64encode(bytes(32)),
        "-> hpke-x25519 " + b64encode(bytes(31)) + "\n" + b64encode(bytes(48)) + "\n",
        "-> hpke-x25519\n" + b64encode(bytes(48)) + "\n",
        "-> hpke-x25519 " + b64encode(bytes(32)) + " more\n" + b64encode(bytes(48)) + "\n",
        "-> grease x\n",
    ],
)
def test_stanzas_that_are_not_ours_stop_the_reader(stanza: str) -> None:
    data = aesgcm.VERSION + stanza.encode() + b"\n--- " + b64encode(bytes(32)).encode() + b"\n"
    with pytest.raises(HeaderError):
        aesgcm.open_header(data, [IDENTITY], PLACE)


def test_kinds_are_not_mixed_by_hand_either() -> None:
    hybrid = HybridIdentity.generate(bytes([8]) * 32)
    one = aesgcm.make_header(KEY, [IDENTITY.recipient()], PLACE).split(b"---")[0]
    two = aesgcm.make_header(KEY, [hybrid.recipient()], PLACE).split(b"---")[0]
    signed = one + two.removeprefix(aesgcm.VERSION) + b"---"
    mac = hmac.new(b"", signed, hashlib.sha256).digest()
    with pytest.raises(HeaderError, match="mixes"):
        aesgcm.open_header(signed + b" " + b64encode(mac).encode() + b"\n", [IDENTITY], PLACE)
    with pytest.raises(MacError):
        aesgcm.open_header(one + b"--- " + b64encode(mac).encode() + b"\n", [IDENTITY], PLACE)


def test_a_passphrase_is_no_recipient() -> None:
    with pytest.raises(KeyFormatError) as refused:
        aesgcm.make_header(KEY, [ScryptRecipient("slovo", 6)], PLACE)
    assert refused.value.code == "recipient.unknown_kind"
    made = aesgcm.make_header(KEY, [IDENTITY.recipient()], PLACE)
    assert aesgcm.open_header(made, [ScryptIdentity("slovo"), IDENTITY], PLACE) == KEY


# ------------------------------------------------------------ the primitives beneath


def test_wycheproof_aes_gcm() -> None:
    seen = 0
    for group, test in wycheproof("aes_gcm"):
        if (group["ivSize"], group["keySize"], group["tagSize"]) != (96, 256, 128):
            continue  # the suite uses one size of each
        seen += 1
        aead, iv, aad = (
            AESGCM(bytes.fromhex(test["key"])),
            bytes.fromhex(test["iv"]),
            bytes.fromhex(test["aad"]),
        )
        sealed, message = bytes.fromhex(test["ct"] + test["tag"]), bytes.fromhex(test["msg"])
        if test["result"] == "valid":
            assert aead.encrypt(iv, message, aad) == sealed
            assert aead.decrypt(iv, sealed, aad) == message
        else:
            with pytest.raises(InvalidTag):
                aead.decrypt(iv, sealed, aad)
    assert seen > 50


def test_wycheproof_hmac_sha256() -> None:
    for group, test in wycheproof("hmac_sha256"):
        made = hmac.new(bytes.fromhex(test["key"]), bytes.fromhex(test["msg"]), hashlib.sha256).digest()
        right = hmac.compare_digest(made[: group["tagSize"] // 8], bytes.fromhex(test["tag"]))
        assert right == (test["result"] == "valid"), test["tcId"]


def test_wycheproof_mlkem_768() -> None:
    """Decapsulation from the seed; a key or ciphertext of a wrong length is refused."""
    for _, test in wycheproof("mlkem_768"):
        try:
            secret = MLKEM768PrivateKey.from_seed_bytes(bytes.fromhex(test["seed"]))
            assert secret.public_key().public_bytes_raw().hex() == test["ek"], test["tcId"]
            shared = secret.decapsulate(bytes.fromhex(test["c"]))
        except ValueError:
            assert test["result"] == "invalid", test["tcId"]
        else:
            assert (shared.hex() == test["K"]) == (test["result"] == "valid"), test["tcId"]
