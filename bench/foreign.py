"""Other people's tools that encrypt a file: how each is called. A tool that is not installed is told, not replaced."""

from __future__ import annotations

import secrets
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from formats.age import X25519Identity


@dataclass(frozen=True)
class Tool:
    """`seal(source, target)` encrypts a file; `version`: what the tool says of itself; `close` ends what it left running."""

    name: str
    cipher: str
    version: str
    seal: Callable[[Path, Path], None]
    close: Callable[[], None] = lambda: None


def tools(folder: Path) -> tuple[list[Tool], dict[str, str]]:
    """Those that are here, and why others are not. `folder` takes their keys."""
    found, absent = [], {}
    for name, make in (("age", _age), ("openssl", _openssl), ("gpg", _gpg)):
        program = shutil.which(name)
        if program is None:
            absent[name] = "not installed"
        else:
            found += make(program, folder)
    return found, absent


def _version(program: str, argument: str) -> str:
    done = subprocess.run([program, argument], capture_output=True, text=True, check=False)
    return (done.stdout or done.stderr).strip().splitlines()[0]


def _age(program: str, folder: Path) -> list[Tool]:
    recipient = str(X25519Identity.generate(secrets.token_bytes(32)).recipient())

    def seal(source: Path, target: Path) -> None:
        subprocess.run([program, "-r", recipient, "-o", target, source], check=True, capture_output=True)

    return [Tool("age", "ChaCha20-Poly1305", _version(program, "--version"), seal)]


def _openssl(program: str, folder: Path) -> list[Tool]:
    """`enc` knows no authenticated cipher: these two are encryption alone."""
    key, version = folder / "openssl.key", _version(program, "version")
    key.write_text(secrets.token_hex(16))

    def sealer(cipher: str) -> Callable[[Path, Path], None]:
        def seal(source: Path, target: Path) -> None:
            subprocess.run(
                [program, "enc", f"-{cipher}", "-pbkdf2", "-iter", "1", "-pass", f"file:{key}", "-in", source, "-out",
                 target],
                check=True, capture_output=True,
            )  # fmt: skip

        return seal

    return [
        Tool(f"openssl_{cipher.replace('-', '_')}", f"{cipher}, no authentication", version, sealer(cipher))
        for cipher in ("aes-256-ctr", "chacha20")
    ]


def _gpg(program: str, folder: Path) -> list[Tool]:
    home, phrase = folder / "gpg", folder / "gpg.phrase"
    home.mkdir(mode=0o700)
    phrase.write_text(secrets.token_hex(16))

    def seal(source: Path, target: Path) -> None:
        subprocess.run(
            [program, "--homedir", home, "--batch", "--yes", "--quiet", "--pinentry-mode", "loopback", "--passphrase-file",
             phrase, "--symmetric", "--cipher-algo", "AES256", "--s2k-count", "1024", "--compress-algo", "none", "-o",
             target, source],
            check=True, capture_output=True,
        )  # fmt: skip

    def close() -> None:
        if control := shutil.which("gpgconf"):
            subprocess.run([control, "--homedir", home, "--kill", "all"], check=False, capture_output=True)

    return [Tool("gpg", "AES256 OpenPGP, uncompressed", _version(program, "--version"), seal, close)]
