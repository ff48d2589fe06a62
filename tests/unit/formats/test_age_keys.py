"""Recipients, identities, headers and armor beside the public vectors; Wycheproof through the code that uses it."""

from __future__ import annotations

import io
import random

import pytest
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given
from hypothesis import strategies as st

from formats import age, bech32
from formats.age import primitives
from formats.age.x25519 import _share
from formats.errors import ArmorError, HeaderError, KeyFormatError, MacError, NoMatchError
from tests.unit.formats.public_vectors import wycheproof

_RANDOM = random.Random(11)
FILE_KEY = bytes(range(16))
ONE, TWO = (age.X25519Identity.generate(bytes([n]) * 32) for n in (1, 2))
PQ = age.HybridIdentity.generate(bytes([3]) * 32)


def randbytes(size: int) -> bytes:
    return _RANDOM.randbytes(size)


def test_keys_of_the_specification() -> None:
    # C2SP age, "The X25519 recipient type": the identity 0x42 repeated.
    identity = age.X25519Identity.parse("AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX")
    assert identity.secret == b"\x42" * 32
    assert str(identity.recipient()) == "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj"
    assert str(identity).startswith("AGE-SECRET-KEY-1GFPYYSJZ")
    assert "GFPYYSJZ" not in repr(identity)


def test_keys_round_trip() -> None:
    for identity in (ONE, PQ):
        assert type(identity).parse(str(identity)) == identity
        recipient = identity.recipient()
        assert age.parse_recipient(str(recipient)) == recipient
        assert len(recipient.fingerprint) == 16


def test_identity_files() -> None:
    text = f"# created: today\n# public key: {ONE.recipient()}\n{ONE}\n\n  {PQ}\n"
    assert age.parse_identities(text) == [ONE, PQ]
    for bad in ("", "# nothing\n", f"{ONE}\nnonsense\n", str(ONE.recipient())):
        with pytest.raises(KeyFormatError) as caught:
            age.parse_identities(bad)
        assert "nonsense" not in caught.value.message


@pytest.mark.parametrize(
    "text",
    [
        "",
        "age1",
        str(ONE.recipient())[:-1],
        str(ONE.recipient()).upper().replace("AGE", "age"),
        str(ONE.recipient()).replace("age1", "age2"),
        bech32.encode("age", bytes(31)),
        bech32.encode("age", bytes(32)),  # a point of low order
        bech32.encode("bge", ONE.recipient().public),
        bech32.encode("age1pq", bytes(1216)[:-1]),
        bech32.encode("age1pq", b"\xff" * 1216),
        bech32.encode("age1tag", bytes(33)),
        "age1\u212a" + str(ONE.recipient())[5:],
    ],
)
def test_bad_recipients(text: str) -> None:
    with pytest.raises(KeyFormatError):
        age.parse_recipient(text)


def test_an_identity_where_a_recipient_belongs() -> None:
    for identity in (ONE, PQ):
        with pytest.raises(KeyFormatError) as caught:
            age.parse_recipient(str(identity))
        assert caught.value.code == "recipient.secret"
        assert str(identity) not in str(caught.value)


@given(st.binary(max_size=90), st.sampled_from(["age", "AGE-SECRET-KEY-", "x1y"]))
def test_bech32_round_trip(data: bytes, hrp: str) -> None:
    text = bech32.encode(hrp, data)
    assert bech32.decode(text) == (hrp, data)


def test_bech32_padding_must_be_zero() -> None:
    """Two spellings of one key would be two recipients to whoever compares texts."""
    values = bech32._regroup(bytes(32), 8, 5, pad=True)
    for tail in ([*values[:-1], values[-1] | 1], [*bech32._regroup(bytes(5), 8, 5, pad=True), 0]):
        check = bech32._polymod(bech32._expand("age") + tail + [0] * 6) ^ 1
        whole = tail + [check >> 5 * (5 - i) & 31 for i in range(6)]
        with pytest.raises(KeyFormatError, match="padding"):
            bech32.decode("age1" + "".join(bech32._CHARSET[value] for value in whole))


def test_bech32_of_bip_173() -> None:
    # BIP 173, "Test vectors": valid strings, then invalid ones.
    for text in (
        "A12UEL5L",
        "a12uel5l",
        "an83characterlonghumanreadablepartthatcontainsthenumber1andtheexcludedcharactersbio1tt5tgs",
    ):
        bech32.decode(text)
    for text in (
        "\x201nwldj5",
        "pzry9x0s0muk",
        "1pzry9x0s0muk",
        "x1b4n0q5v",
        "li1dgmt3",
        "A1G7SGD8",
        "10a06t8",
        "a12UEL5L",
    ):
        with pytest.raises(KeyFormatError):
            bech32.decode(text)


@pytest.mark.parametrize("identities", [(ONE,), (ONE, TWO), (PQ,)], ids=["x25519", "two", "post-quantum"])
def test_header_for_each(identities: tuple[age.X25519Identity | age.HybridIdentity, ...]) -> None:
    header = age.make_header(FILE_KEY, [one.recipient() for one in identities], randbytes=randbytes)
    assert header.endswith(b"\n")
    assert age.parse_header(header).encode() == header
    for one in identities:
        assert age.open_header(header, [one]) == FILE_KEY
    with pytest.raises(NoMatchError):
        age.open_header(header, [age.X25519Identity.generate(bytes(31) + b"\x07")])
    with pytest.raises(HeaderError):
        age.open_header(header + b"x", identities)
    with pytest.raises(HeaderError):
        age.open_header(header[:-1], identities)


def test_header_is_made_from_the_given_randomness() -> None:
    one, two = (age.make_header(FILE_KEY, [ONE.recipient()], randbytes=random.Random(5).randbytes) for _ in range(2))
    assert one == two


def test_headers_that_are_not_made() -> None:
    with pytest.raises(KeyFormatError) as caught:
        age.make_header(FILE_KEY, [ONE.recipient(), PQ.recipient()], randbytes=randbytes)
    assert caught.value.code == "recipient.mixed"
    with pytest.raises(KeyFormatError):
        age.make_header(FILE_KEY, [], randbytes=randbytes)
    with pytest.raises(ValueError, match="16 bytes"):
        age.make_header(FILE_KEY + b"x", [ONE.recipient()], randbytes=randbytes)
    with pytest.raises(HeaderError):
        age.make_header(FILE_KEY, [PQ.recipient(), age.ScryptRecipient("x", 1)], randbytes=randbytes)


def test_every_flipped_bit_of_a_header_is_noticed() -> None:
    header = age.make_header(FILE_KEY, [ONE.recipient(), TWO.recipient()], randbytes=randbytes)
    for at in range(len(header)):
        bad = bytearray(header)
        bad[at] ^= 1
        with pytest.raises((HeaderError, MacError, NoMatchError)):
            age.open_header(bytes(bad), [ONE])


def test_passphrase_round_trip() -> None:
    data = b"".join(age.encrypt_file(io.BytesIO(b"x" * 70000), [age.ScryptRecipient("tajné", 4)], randbytes=randbytes))
    assert b"".join(age.decrypt_file(data, [age.ScryptIdentity("tajné")])) == b"x" * 70000
    with pytest.raises(NoMatchError):
        age.decrypt_file(data, [age.ScryptIdentity("tajne")])
    with pytest.raises(HeaderError, match="refused"):
        age.decrypt_file(data, [age.ScryptIdentity("tajné", max_work_factor=3)])
    assert "tajn" not in repr(age.ScryptIdentity("tajné")) + repr(age.ScryptRecipient("tajné"))


def test_an_endless_header_is_not_read_to_its_end() -> None:
    class Endless:
        def __init__(self) -> None:
            self.given = 0

        def readline(self, limit: int = -1, /) -> bytes:
            self.given += 65
            return (b"age-encryption.org/v1\n" if self.given == 65 else b"-> a " + b"b" * 59 + b"\n")[:limit]

    source = Endless()
    with pytest.raises(HeaderError):
        age.read_header(source)
    assert source.given < 1024 * 1024


@given(st.binary(max_size=200))
def test_armor_round_trip(data: bytes) -> None:
    text = age.armor(data)
    assert age.is_armored(text)
    assert age.dearmor(text) == data
    assert age.dearmor(b" \r\n" + text.replace(b"\n", b"\r\n") + b"\n\n") == data


def test_armored_file() -> None:
    data = b"".join(age.encrypt_file(io.BytesIO(b"hello"), [ONE.recipient()], randbytes=randbytes))
    assert b"".join(age.decrypt_file(age.armor(data), [ONE])) == b"hello"
    for bad in (age.armor(data)[:-20], age.armor(data) + b"x", age.armor(data).replace(b"-----END", b"----END")):
        with pytest.raises(ArmorError):
            age.decrypt_file(bad, [ONE])


def test_wycheproof_x25519() -> None:
    """`acceptable` vectors: a shared secret of zero is refused, every other is computed as RFC 7748 says."""
    zero = computed = 0
    for _, test in wycheproof("x25519"):
        secret, public = bytes.fromhex(test["private"]), bytes.fromhex(test["public"])
        if test["shared"] == "00" * 32:
            zero += 1
            with pytest.raises(ValueError):
                _share(secret, public)
        else:
            computed += 1
            assert _share(secret, public).hex() == test["shared"], test
    assert zero > 10
    assert computed > 400


def test_wycheproof_chacha20_poly1305() -> None:
    """Whole vectors through the primitive; those with our zero nonce and no associated data through `unwrap` too."""
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

    for group, test in wycheproof("chacha20_poly1305"):
        key, nonce, aad, message = (bytes.fromhex(test[name]) for name in ("key", "iv", "aad", "msg"))
        sealed = bytes.fromhex(test["ct"] + test["tag"])
        try:
            opened: bytes | None = ChaCha20Poly1305(key).decrypt(nonce, sealed, aad)
        except (InvalidTag, ValueError):
            opened = None
        assert (opened == message) == (test["result"] == "valid"), test
        if group["ivSize"] == 96 and nonce == bytes(12) and not aad:
            assert primitives.unwrap(key, sealed) == (message if test["result"] == "valid" else None)


def test_wycheproof_hkdf_sha256() -> None:
    """Our two uses derive 32 bytes; every vector runs through the primitive they stand on, those of 32 bytes through us."""
    from cryptography.hazmat.primitives.hashes import SHA256

    ours = 0
    for _, test in wycheproof("hkdf_sha256"):
        ikm, salt, info = (bytes.fromhex(test[name]) for name in ("ikm", "salt", "info"))
        try:
            okm = HKDF(algorithm=SHA256(), length=test["size"], salt=salt, info=info).derive(ikm)
        except ValueError:
            okm = b""
        assert (okm.hex() == test["okm"] and bool(okm)) == (test["result"] == "valid"), test
        if test["result"] == "valid":
            ours += 1
            # HKDF's output of a shorter length is a prefix of a longer one.
            size = min(32, test["size"])
            assert primitives.hkdf(ikm, salt, info)[:size].hex() == test["okm"][: 2 * size]
    assert ours > 50
