"""Where public vectors are. `CALLWARDEN_VECTORS` names a folder with `cctv-age/`, `wycheproof/` and `vcon/` inside."""

from __future__ import annotations

import json
import os
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

WHERE = (
    "CALLWARDEN_VECTORS is unset or lacks {0}: public vectors are not run. Get them from "
    "github.com/C2SP/CCTV (age/testdata, as cctv-age/), github.com/C2SP/wycheproof (testvectors_v1, as wycheproof/) and "
    "github.com/ietf-wg-vcon/draft-ietf-vcon-vcon-core (schema and examples, as vcon/)"
)


def folder(name: str) -> Path | None:
    """The folder `name` beneath CALLWARDEN_VECTORS, or None."""
    base = os.environ.get("CALLWARDEN_VECTORS")
    path = Path(base) / name if base else None
    return path if path is not None and path.is_dir() else None


def need(name: str) -> Path:
    """The folder, or a skip that says where its content is published."""
    if (path := folder(name)) is None:
        pytest.skip(WHERE.format(name))
    return path


@dataclass
class AgeVector:
    """One file of the CCTV testkit."""

    name: str
    expect: str = ""
    payload: str | None = None
    file_key: bytes | None = None
    identities: list[str] = field(default_factory=list)
    passphrases: list[str] = field(default_factory=list)
    armored: bool = False
    unknown: list[str] = field(default_factory=list)
    data: bytes = b""


def read_age_vector(path: Path) -> AgeVector:
    """Parse a testkit file: `key: value` lines, an empty line, the age file, perhaps compressed."""
    head, _, data = path.read_bytes().partition(b"\n\n")
    vector = AgeVector(path.name)
    for line in head.decode().splitlines():
        key, _, value = line.partition(": ")
        match key:
            case "expect":
                vector.expect = value
            case "payload":
                vector.payload = value
            case "file key":
                vector.file_key = bytes.fromhex(value)
            case "identity":
                vector.identities.append(value)
            case "passphrase":
                vector.passphrases.append(value)
            case "armored":
                vector.armored = value == "yes"
            case "compressed" if value == "zlib":
                data = zlib.decompress(data)
            case "comment":
                pass
            case _:
                vector.unknown.append(key)
    vector.data = data
    return vector


def wycheproof(name: str) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Every (group, test) of a Wycheproof file. Skips, saying where from, without the vectors."""
    document = json.loads((need("wycheproof") / f"{name}_test.json").read_text())
    tests = [(group, test) for group in document["testGroups"] for test in group["tests"]]
    assert len(tests) == document["numberOfTests"]
    return tests
