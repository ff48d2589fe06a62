"""Identities under a passphrase: made, opened by us and by the stock tool, and what is said when the words are wrong."""

from __future__ import annotations

import io
import os
import pty
import secrets
import shutil
import sys
import time
import wave
from pathlib import Path

import click
import pytest

from callwarden import keyfiles
from callwarden.__main__ import cli
from edge.errors import CallwardenError
from formats.age import ScryptRecipient, encrypt_file
from tests.unit.cli import cli_makers as make

WORDS = "correct horse battery staple"


def phrase_file(folder: Path, words: str = WORDS, mode: int = 0o600) -> Path:
    path = folder / f"phrase-{secrets.token_hex(4)}"
    path.write_text(words + "\n")
    path.chmod(mode)
    return path


def at_a_terminal(args: list[str | Path], *answers: str) -> tuple[int, str]:
    """Run a program with a controlling terminal of its own, and type `answers`, each after its question."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(make.ROOT)
        os.execvp(str(args[0]), [str(a) for a in args])
    seen, left, asked, end = b"", list(answers), 0, time.monotonic() + 60
    while time.monotonic() < end:
        try:
            piece = os.read(terminal, 4096)
        except OSError:
            break  # the program has ended
        if not piece:
            break
        seen += piece
        if left and seen.count(b": ") > asked:
            asked = seen.count(b": ")
            time.sleep(0.3)  # getpass drops what was typed before it turned the echo off
            os.write(terminal, left.pop(0).encode() + b"\n")
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), seen.decode()


def locked(folder: Path, name: str = "me.age") -> tuple[Path, str]:
    path = folder / name
    done = make.command("key", "new", "-o", path, "--passphrase", "--passphrase-file", phrase_file(folder))
    assert done.code == 0, done.err
    return path, done.out.strip()


def test_a_recording_is_opened_by_a_locked_identity(tmp_path: Path, run_dir: Path) -> None:
    import asyncio

    identity, recipient = locked(tmp_path)
    assert b"AGE-SECRET-KEY" not in identity.read_bytes()
    edge = make.make_edge(tmp_path / "etc", run_dir, "--recipient", recipient, "--waive", "no-recovery-recipient")

    async def fill() -> make.Recorded:
        async with make.opened(edge) as files:
            return await make.record(edge, files, [make.sound(2, 1)])

    one = asyncio.run(fill())
    out = tmp_path / "out.wav"
    phrase = phrase_file(tmp_path)
    done = edge.run("export", one.recording_id, "-i", identity, "--passphrase-file", phrase, "-o", out)
    assert done.code == 0, done.err
    with wave.open(str(out)) as wav:
        assert wav.readframes(wav.getnframes()) == one.audio
    assert WORDS not in done.out + done.err
    wrong = edge.run(
        "export", one.recording_id, "-i", identity, "--passphrase-file", phrase_file(tmp_path, "no"), "-o",
        tmp_path / "other.wav",
    )  # fmt: skip
    assert (wrong.code, "[auth.passphrase]" in wrong.err, str(identity) in wrong.err) == (8, True, True)
    assert not (tmp_path / "other.wav").exists()
    # Where neither a file nor a terminal is, it says what to do.
    import subprocess

    nobody = subprocess.run(
        [sys.executable, "-m", "callwarden", "--config", str(edge.config), "export", one.recording_id, "-i",
         str(identity), "-o", str(tmp_path / "third.wav")],
        capture_output=True, text=True, start_new_session=True, stdin=subprocess.DEVNULL, cwd=make.ROOT, timeout=60,
    )  # fmt: skip
    assert nobody.returncode == 2
    assert "[usage.passphrase]" in nobody.stderr
    assert "--passphrase-file" in nobody.stderr


def test_the_passphrase_is_asked_for_twice_at_a_terminal_and_not_shown(tmp_path: Path) -> None:
    callwarden = [sys.executable, "-m", "callwarden"]
    path = tmp_path / "typed.age"
    code, seen = at_a_terminal([*callwarden, "key", "new", "-o", path, "--passphrase"], WORDS, WORDS)
    assert code == 0, seen
    assert WORDS not in seen
    (identity,) = keyfiles.read_identities(path, lambda _: WORDS)
    assert str(identity.recipient()) in seen
    code, seen = at_a_terminal([*callwarden, "key", "new", "-o", tmp_path / "b.age", "--passphrase"], WORDS, "other")
    assert code == 2
    assert "[usage.passphrase]" in seen
    assert not (tmp_path / "b.age").exists()


def test_the_stock_tool_opens_it(tmp_path: Path) -> None:
    age = shutil.which("age")
    if age is None:
        pytest.skip("there is no `age` here: apt-get install age")
    identity, recipient = locked(tmp_path)
    (tmp_path / "plain").write_bytes(b"words")
    sealed = tmp_path / "sealed.age"
    os.spawnl(os.P_WAIT, age, "age", "-r", recipient, "-o", str(sealed), str(tmp_path / "plain"))
    code, seen = at_a_terminal([age, "-d", "-i", identity, "-o", tmp_path / "opened", sealed], WORDS)
    assert code == 0, seen
    assert (tmp_path / "opened").read_bytes() == b"words"
    code, seen = at_a_terminal([age, "-d", "-o", tmp_path / "key.txt", identity], WORDS)
    assert code == 0, seen
    assert str(keyfiles.read_identities(tmp_path / "key.txt")[0].recipient()) == recipient


def test_what_is_no_locked_identity_is_refused(tmp_path: Path) -> None:
    def reading(data: bytes, words: str = WORDS) -> str:
        path = tmp_path / secrets.token_hex(4)
        path.write_bytes(data)
        with pytest.raises(CallwardenError) as caught:
            keyfiles.read_identities(path, lambda _: words)
        assert words not in str(caught.value)
        return caught.value.code

    def under(words: str, content: bytes, work: int = 10) -> bytes:
        recipient = ScryptRecipient(words, work)
        return b"".join(encrypt_file(io.BytesIO(content), [recipient], randbytes=secrets.token_bytes))

    whole = under(WORDS, b"AGE-SECRET-KEY-1 no\n")
    assert reading(whole) == "recipient.malformed"
    assert reading(whole[:-1]) == "recipient.malformed"
    assert reading(whole, "wrong") == "auth.passphrase"
    other = keyfiles.new_identity()
    to_a_key = b"".join(encrypt_file(io.BytesIO(b"x"), [other.recipient()], randbytes=secrets.token_bytes))
    assert reading(to_a_key) == "recipient.malformed"
    # A file that demands gigabytes of memory is refused before any work is done.
    assert reading(whole.replace(b" 10\n", b" 21\n", 1)) == "recipient.malformed"
    good = under(WORDS, keyfiles.identity_text(other, make.SystemClock().wall(), "x"))
    (tmp_path / "good").write_bytes(good)
    assert keyfiles.read_identities(tmp_path / "good", lambda _: WORDS) == [other]


@pytest.mark.parametrize(
    ("words", "mode", "code", "name"),
    [
        (WORDS, 0o644, 3, "config.file_mode"),
        ("", 0o600, 2, "usage.passphrase"),
        ("x" * 2000, 0o600, 2, "usage.passphrase"),
    ],
)
def test_a_passphrase_file_is_looked_at(tmp_path: Path, words: str, mode: int, code: int, name: str) -> None:
    file = phrase_file(tmp_path, words, mode)
    done = make.command("key", "new", "-o", tmp_path / "k", "--passphrase", "--passphrase-file", file)
    assert (done.code, f"[{name}]" in done.err) == (code, True), done.err
    assert not (tmp_path / "k").exists()


def test_a_key_is_never_written_over(tmp_path: Path) -> None:
    path, _ = locked(tmp_path)
    before = path.read_bytes()
    again = make.command("key", "new", "-o", path, "--passphrase", "--passphrase-file", phrase_file(tmp_path))
    assert (again.code, "[environment.exists]" in again.err) == (8, True)
    assert path.read_bytes() == before
    signing = make.command("key", "new", "--kind", "dpo", "-o", tmp_path / "dpo", "--passphrase")
    assert signing.code == 2


def test_a_post_quantum_identity_opens_what_is_sealed_to_it(tmp_path: Path) -> None:
    done = make.command("key", "new", "--kind", "hybrid", "-o", tmp_path / "pq")
    assert done.out.startswith("age1pq1")
    (identity,) = keyfiles.read_identities(tmp_path / "pq")
    assert str(identity.recipient()) == done.out.strip()


def test_every_command_that_takes_an_identity_takes_a_passphrase_file() -> None:
    def walk(group: click.Group) -> list[click.Command]:
        context = click.Context(group)
        found: list[click.Command] = []
        for name in group.list_commands(context):
            one = group.get_command(context, name)
            assert one is not None
            found += walk(one) if isinstance(one, click.Group) else [one]
        return found

    taking = [c for c in walk(cli) if any(p.name in ("identity", "identities") for p in c.params)]
    assert len(taking) >= 2
    assert [c.name for c in taking if not any("--passphrase-file" in p.opts for p in c.params)] == []
