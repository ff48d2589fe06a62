"""What is stored, taken out sealed: a folder that another reader opens by the specifications alone."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from callwarden import keyfiles
from formats.age import decrypt_file, decrypt_truncated, open_header
from formats.place import Place
from formats.suites import AES256GCM
from tests.unit.cli import cli_makers as make
from tests.vectors import hpke_reference

SPANS = [make.sound(2, 1)[: 2 * AES256GCM.chunk + more] for more in (0, 4)]
#: BIP 173's alphabet.
_BECH32 = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"


@pytest.fixture
async def both(edge: make.Edge) -> make.Edge:
    """facts: `whole` and `cut` of aes256gcm, `age` and `age_cut` of age1, `live`."""
    async with make.opened(edge) as files:
        edge.facts = {
            "whole": await make.record(edge, files, SPANS, suite="aes256gcm"),
            "cut": await make.record(edge, files, [make.sound(3, 3)], end="truncated", suite="aes256gcm"),
            "age": await make.record(edge, files, [make.sound(1, 4), make.sound(1, 5)]),
            "age_cut": await make.record(edge, files, [make.sound(3, 6)], end="truncated"),
            "live": await make.record(edge, files, [make.sound(3, 7)], end="live", suite="aes256gcm"),
        }
    return edge


def taken(edge: make.Edge, name: str, folder: Path, *more: str) -> make.Ran:
    return edge.run("export", edge.facts[name].recording_id, "--raw", "-o", folder, *more)


def from_b64url(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def private_key(file: Path) -> bytes:
    """The 32 bytes of an `AGE-SECRET-KEY-1…` (BIP 173; the checksum's 6 letters are left out)."""
    (line,) = (one for one in file.read_text().split() if one.startswith("AGE-SECRET-KEY-1"))
    number = 0
    for letter in line.lower().rpartition("1")[2][:-6]:
        number = number << 5 | _BECH32.index(letter)
    return (number >> 4).to_bytes(32, "big")  # 52 letters are 260 bits


def signed_facts(folder: Path, edge: make.Edge) -> Any:
    """The manifest, by docs/spec/manifest.md and the edge's public key as its trust file has it."""
    head, body, signature = (folder / "manifest.jws").read_text().split(".")
    kid = json.loads(from_b64url(head))["kid"]
    trusted = json.loads(edge.loaded.edge.trust_file.read_text())["keys"]
    (key,) = (one for one in trusted if one["kid"] == kid)
    public = Ed25519PublicKey.from_public_bytes(from_b64url(key["jwk"]["x"]))
    public.verify(from_b64url(signature), f"{head}.{body}".encode())
    return json.loads(from_b64url(body))


@pytest.mark.parametrize("name", ["whole", "cut", "age", "age_cut"])
def test_another_reader_opens_the_folder(both: make.Edge, tmp_path: Path, name: str) -> None:
    fact, folder = both.facts[name], tmp_path / "out"
    done = taken(both, name, folder)
    assert done.code == 0, done.err
    manifest, audio = signed_facts(folder, both), b""
    numbers = range(len(manifest["segments"]))
    names = ["manifest.jws", *(f"{n}.{part}" for n in numbers for part in ("header", "payload"))]
    assert done.out.split() == [str(folder / one) for one in names]
    assert sorted(os.listdir(folder)) == sorted(names)
    for segment in manifest["segments"]:
        header, payload = ((folder / f"{segment['number']}.{part}").read_bytes() for part in ("header", "payload"))
        assert hashlib.sha512(payload).hexdigest() == segment["payload_sha512"]
        whole, identity = segment["state"] == "closed", both.paths["operator_identity"]
        if segment["suite"] == "aes256gcm":
            place = Place(manifest["recording_id"], segment["segment_id"])
            key = hpke_reference.open_header(header, private_key(identity), place)
            named = HKDF(hashes.SHA256(), 32, None, b"callwarden/key-id/v1").derive(key)
            assert named.hex() == segment["key_id"]
            audio += hpke_reference.open_payload(payload, key, place, whole=whole)
        elif whole:
            audio += b"".join(decrypt_file(header + payload, keyfiles.read_identities(identity)))
        else:
            file_key = open_header(header, keyfiles.read_identities(identity))
            audio += b"".join(decrypt_truncated(file_key, io.BytesIO(payload)))
    assert audio == fact.audio


def test_modes_and_what_the_log_keeps(both: make.Edge, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    done = taken(both, "whole", folder, "--case", "case-7", "--purpose", "evidence", "--json")
    assert (done.code, done.json["verified"], done.json["format"]) == (0, True, "raw"), done.err
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(one.stat().st_mode) for one in folder.iterdir()} == {0o600}
    reads = json.loads(both.run("reads", both.facts["whole"].recording_id, "--json").out)
    assert [one["kind"] for one in reads] == [
        *["recording.read", "recording.read_payload"] * 2, "recording.exported",
    ]  # fmt: skip
    assert {(one["form"], one["case"], one["purpose"]) for one in reads} == {("raw", "case-7", "evidence")}


def test_a_name_that_is_taken_stays_as_it_is(both: make.Edge, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("mine")
    for name in ("folder", "file"):
        refused = taken(both, "whole", tmp_path / name)
        assert refused.code != 0
        assert "[environment.exists]" in refused.err
    assert list((tmp_path / "folder").iterdir()) == []
    assert (tmp_path / "file").read_text() == "mine"


def test_one_touched_byte_leaves_no_folder(both: make.Edge, tmp_path: Path) -> None:
    recording = both.facts["whole"].recording_id
    file = make.payloads(both, recording)[-1]
    data = bytearray(file.read_bytes())
    data[9000] ^= 1
    file.write_bytes(data)
    refused = taken(both, "whole", tmp_path / "out")
    assert (refused.code, "[vault.payload_hash]" in refused.err) == (7, True), refused.err
    assert os.listdir(tmp_path) == ["etc"], "nor a folder without a name"


def test_what_does_not_go_with_it(both: make.Edge, tmp_path: Path) -> None:
    assert "[command.live]" in taken(both, "live", tmp_path / "out").err
    for more in (["--partial"], ["--raw-age"], ["--from", "1s"], ["-i", str(both.paths["operator_identity"])]):
        assert taken(both, "live", tmp_path / "out", *more).code == 2
    assert os.listdir(tmp_path) == ["etc"]
