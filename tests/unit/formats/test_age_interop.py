"""Our files against other hands: the stock `age` tool and pyrage, in both directions."""

from __future__ import annotations

import io
import os
import random
import shutil
import subprocess
from pathlib import Path

import pytest

from formats import age

LENGTHS = [0, 1, 65535, 65536, 65537, 131072]
PLAIN = random.Random(3).randbytes(131072)
IDENTITY = age.X25519Identity.generate(random.Random(4).randbytes(32))


def randbytes(size: int) -> bytes:
    return os.urandom(size)


@pytest.fixture(scope="module")
def stock() -> str:
    found = os.environ.get("CALLWARDEN_AGE") or shutil.which("age")
    if not found:
        pytest.skip("the age tool was not found: install Debian's package `age`, or name it in CALLWARDEN_AGE")
    return found


@pytest.fixture
def identity_file(tmp_path: Path) -> Path:
    path = tmp_path / "identity.txt"
    path.write_text(f"# test only\n{IDENTITY}\n")
    return path


def detached(length: int) -> bytes:
    """`header || payload` as the vault makes it: header on its own, chunks sealed one by one."""
    file_key, nonce = randbytes(16), randbytes(16)
    header = age.make_header(file_key, [IDENTITY.recipient()], randbytes=randbytes)
    sealer = age.ChunkSealer(file_key, nonce)
    chunks = max(1, -(-length // age.CHUNK))
    pieces = [PLAIN[n * age.CHUNK : min(length, (n + 1) * age.CHUNK)] for n in range(chunks)]
    return header + nonce + b"".join(sealer.seal(n, piece, n == chunks - 1) for n, piece in enumerate(pieces))


@pytest.mark.parametrize("length", LENGTHS)
def test_stock_age_opens_ours(stock: str, identity_file: Path, length: int) -> None:
    done = subprocess.run([stock, "-d", "-i", str(identity_file)], input=detached(length), capture_output=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == PLAIN[:length]


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("armored", [False, True])
def test_we_open_stock_age(stock: str, length: int, armored: bool) -> None:
    arguments = [stock, "-r", str(IDENTITY.recipient()), *(["-a"] if armored else [])]
    data = subprocess.run(arguments, input=PLAIN[:length], capture_output=True, check=True).stdout
    assert b"".join(age.decrypt_file(data, [IDENTITY])) == PLAIN[:length]
    if not armored:
        source = io.BytesIO(data)
        header = age.read_header(source).encode()
        assert b"".join(age.decrypt_stream(age.open_header(header, [IDENTITY]), source)) == PLAIN[:length]


def test_stock_age_refuses_a_truncated_segment(stock: str, identity_file: Path) -> None:
    """Without a last chunk it prints the whole chunks and exits 1: what docs/spec/age-detached.md promises."""
    file_key, nonce = randbytes(16), randbytes(16)
    header = age.make_header(file_key, [IDENTITY.recipient()], randbytes=randbytes)
    chunk = age.ChunkSealer(file_key, nonce).seal(0, PLAIN[: age.CHUNK], last=False)
    data = header + nonce + chunk
    done = subprocess.run([stock, "-d", "-i", str(identity_file)], input=data, capture_output=True)
    assert done.returncode == 1
    assert done.stdout == PLAIN[: age.CHUNK]
    assert b"".join(age.decrypt_truncated(file_key, io.BytesIO(nonce + chunk))) == PLAIN[: age.CHUNK]


@pytest.mark.parametrize("length", LENGTHS)
def test_pyrage_both_ways(length: int) -> None:
    pyrage = pytest.importorskip("pyrage", reason="the oracle pyrage is not installed (extra `oracles`)")
    theirs = pyrage.x25519.Identity.from_str(str(IDENTITY))
    assert str(theirs.to_public()) == str(IDENTITY.recipient())
    assert pyrage.decrypt(detached(length), [theirs]) == PLAIN[:length]
    recipient = pyrage.x25519.Recipient.from_str(str(IDENTITY.recipient()))
    data = pyrage.encrypt(PLAIN[:length], [recipient])
    assert b"".join(age.decrypt_file(data, [IDENTITY])) == PLAIN[:length]


def test_pyrage_passphrases_both_ways() -> None:
    pyrage = pytest.importorskip("pyrage", reason="the oracle pyrage is not installed (extra `oracles`)")
    ours = b"".join(age.encrypt_file(io.BytesIO(b"x"), [age.ScryptRecipient("slovo", 6)], randbytes=randbytes))
    assert pyrage.passphrase.decrypt(ours, "slovo") == b"x"
    theirs = pyrage.passphrase.encrypt(b"y", "slovo")
    assert b"".join(age.decrypt_file(theirs, [age.ScryptIdentity("slovo")])) == b"y"
