"""The frame of the command: help, errors, exit codes, and what init makes."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import tomllib
from pathlib import Path

import click
import pytest

from callwarden.__main__ import cli
from callwarden.failure import BUG_LINE, report
from callwarden.lazy import LazyGroup
from callwarden.output import json_text
from edge.config import check
from edge.errors import EXIT_OF, CallwardenError
from formats.errors import ReceiptError
from formats.keyset import KeySet
from tests.unit.cli import cli_makers as make
from tests.unit.cli.cli_makers import command, process


def groups(group: click.Group) -> list[LazyGroup]:
    context = click.Context(group)
    inner = [group.get_command(context, name) for name in group.list_commands(context)]
    found = [g for i in inner if isinstance(i, click.Group) for g in groups(i)]
    return [group, *found] if isinstance(group, LazyGroup) else found


def test_the_lazy_lines_are_the_commands_own() -> None:
    for group in groups(cli):
        for name, (_, line) in group.lazy.items():
            found = group.get_command(click.Context(group), name)
            assert found is not None
            assert found.name == name
            assert (found.help or "").startswith(line.removesuffix(".")), name


def test_every_command_and_option_has_help() -> None:
    def walk(group: click.Group) -> int:
        context, seen = click.Context(group), 0
        for name in group.list_commands(context):
            one = group.get_command(context, name)
            assert one is not None
            assert one.help, name
            seen += walk(one) if isinstance(one, click.Group) else 1
        return seen

    assert walk(cli) >= 20


#: Sequences that a terminal obeys: escape, C1's CSI, DEL, a right-to-left mark, half a surrogate pair, a tag character.
HOSTILE = "\x1b[2J\x9b2J\x7f\u202e\ud800\U000e0041\n"


def test_json_for_a_terminal_holds_no_control_character_and_means_the_same() -> None:
    value = {"caller": HOSTILE, "text": "Hovor je nahráván."}
    text = json_text(value)
    assert json.loads(text) == value
    assert all(char == "\n" or char.isprintable() for char in text)
    assert "nahráván" in text


def test_a_failure_is_shown_without_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    report(CallwardenError("sync.answer", f"central says {HOSTILE}", hint=HOSTILE, where=HOSTILE))
    report(RuntimeError(HOSTILE))
    shown = capsys.readouterr().err
    assert len(shown.splitlines()) == 4
    assert all(char == "\n" or char.isprintable() for char in shown)


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom callwarden.__main__ import cli\n"
        "try: cli.main(['--help'])\nexcept SystemExit: pass\n"
        "print(sorted({m.split('.')[0] for m in sys.modules} & "
        "{'aiohttp','asyncio','cryptography','msgspec','rich','structlog','sqlite3','central','formats'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=make.ROOT, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["calls", "--config", "/nowhere/edge.toml"], 3, ["config.missing", "callwarden init"]),
        (["--config", "/nowhere/edge.toml", "config", "check"], 3, ["config.missing"]),
        (["cals"], 2, ["No such command", "calls"]),
        (["calls", "--jsn"], 2, ["--json"]),
        (["why"], 2, ["CALL"]),
        (["key", "new", "-o", "/nowhere/k"], 8, ["/nowhere/k"]),
        (["receipt", "verify", "/nowhere", "--trust", "/nowhere"], 2, ["/nowhere"]),
        (["init", "/var/tmp/x", "--edge-id", "PBX 1"], 2, ["usage.edge_id", "a-z"]),
        (["init", "/var/tmp/x", "--recipient", "ssh-ed25519 AAAA"], 3, ["recipient.unknown_kind", "--recipient 1"]),
        (["init", "/var/tmp/x", "--no-central", "--central-url", "https://x"], 2, ["exclude each other"]),
        (["init", "/proc/x/y"], 8, ["environment.folder"]),
        (["central", "receipts"], 2, ["CENTRAL_URL"]),
        (["central", "receipts", "--central-config", "/nowhere"], 3, ["config.missing"]),
        (["central", "run", "--central-config", "/nowhere"], 3, ["config.missing"]),
        (["run", "--with-central", "--config", "/nowhere/e.toml"], 3, ["config.missing"]),
    ],
)
def test_wrong_words(arguments: list[str], code: int, words: list[str]) -> None:
    done = process(*arguments)
    assert (done.code, done.out) == (code, ""), done.err
    assert all(word in done.err for word in words), done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    ("environment", "code", "word"),
    [
        ({"CENTRAL_URL": "https://127.0.0.1:1", "CENTRAL_TOKEN": "t"}, 4, "sync.unreachable"),
        ({"CENTRAL_URL": "http://example.org", "CENTRAL_TOKEN": "t"}, 2, "usage.url"),
        ({"CENTRAL_URL": "nonsense", "CENTRAL_TOKEN": "t"}, 2, "usage.url"),
        ({"CENTRAL_URL": "https://127.0.0.1:1", "CENTRAL_TOKEN": "/nowhere/t"}, 8, "/nowhere/t"),
        ({"CENTRAL_URL": "https://127.0.0.1:1", "CENTRAL_TOKEN": "t", "CENTRAL_CA": "/nowhere/ca"}, 8, "/nowhere/ca"),
    ],
)
def test_wrong_surroundings(environment: dict[str, str], code: int, word: str) -> None:
    done = command("central", "recordings", **environment)
    assert (done.code, done.out) == (code, "")
    assert word in done.err


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("[edge]\nid = 'a'\nspol = '/x'\n", "edge.toml:3"),
        ("[edge\n", "edge.toml:1"),
        ("[edge]\nid = 'a'\n[policy.p]\nmode = 'opt_in'\nanswer_window = 'soon'\n", "edge.toml:5"),
    ],
)
def test_a_bad_configuration_names_its_line(tmp_path: Path, text: str, word: str) -> None:
    path = tmp_path / "edge.toml"
    path.write_text(text)
    done = command("--config", path, "config", "check")
    assert done.code == 3
    assert word in done.err


def test_a_reader_that_leaves_is_no_error(edge: make.Edge) -> None:
    line = f"{sys.executable} -m callwarden dialplan print | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, cwd=make.ROOT, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_bug_is_told_as_one(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CALLWARDEN_DEBUG", raising=False)
    assert report(RuntimeError("boom")) == 1
    text = capsys.readouterr().err
    assert "boom" in text
    assert BUG_LINE in text
    assert "Traceback" not in text
    monkeypatch.setenv("CALLWARDEN_DEBUG", "1")
    with pytest.raises(RuntimeError) as caught:
        raise RuntimeError("boom")
    assert report(caught.value) == 1
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize("family", sorted(name for name in EXIT_OF if "." not in name))
def test_exit_codes_by_family(family: str, capsys: pytest.CaptureFixture[str]) -> None:
    code = report(CallwardenError(f"{family}.x", "what", hint="do", where="there"))
    assert code == EXIT_OF[family]
    assert capsys.readouterr().err == f"error: there: what [{family}.x]\n  hint: do\n"


def test_a_full_code_may_differ_from_its_family() -> None:
    assert CallwardenError("central.database", "busy").exit_code == 4
    assert CallwardenError("central.bug", "failed").exit_code == 1


def test_errors_of_the_formats_are_translated(capsys: pytest.CaptureFixture[str]) -> None:
    assert report(ReceiptError("receipt.order", "no")) == 7
    assert "receipt.order" in capsys.readouterr().err


# -- init


def modes(edge: make.Edge) -> dict[str, str]:
    return {name: oct(stat.S_IMODE(path.stat().st_mode))[2:] for name, path in edge.paths.items() if path.exists()}


def test_init_makes_what_the_daemon_accepts(edge: make.Edge) -> None:
    found = [f for f in check(edge.loaded) if f.severity == "error"]
    assert found == []
    mode = modes(edge)
    secret = (
        "edge_key",
        "agi_token",
        "ami_secret",
        "operator_identity",
        "recovery_identity",
        "dpo_key",
        "central_token",
    )
    assert {mode[name] for name in secret} == {"600"}
    assert {mode[name] for name in ("state", "vault", "resume", "keys")} == {"700"}
    assert mode["spool"] == "710"
    assert set(edge.loaded.policies) == {"support", "private"}
    assert edge.loaded.policies["support"].recipients == tuple(edge.recipients)


def test_the_trust_file_knows_everybody(edge: make.Edge) -> None:
    keys = KeySet.load(edge.paths["trust"].read_bytes())
    assert sorted(e.role for e in keys.entries) == ["dpo", "edge", "store", "witness"]
    assert keys.with_role("edge")[0].kid == edge.key.kid
    assert keys.with_role("edge")[0].edge_id == "edge-1"


def test_init_overwrites_nothing_and_mends(edge: make.Edge, tmp_path: Path) -> None:
    files = [p for p in edge.folder.rglob("*") if p.is_file() and p.suffix not in (".db", ".keys")]
    before = {p: p.read_bytes() for p in files}
    edge.paths["policy_private"].unlink()
    edge.config.write_text(edge.config.read_text() + "\n# mine\n")
    before[edge.config] = edge.config.read_bytes()
    done = command(
        "init", edge.folder, "--edge-id", "edge-1", "--run-dir", edge.paths["run"], "--single-host", "--json"
    )
    assert done.code == 0, done.err
    assert done.json["made"] == [str(edge.paths["policy_private"])]
    assert {p: p.read_bytes() for p in files} == before


def test_init_with_keys_made_elsewhere_makes_no_secret_of_people(tmp_path: Path, run_dir: Path) -> None:
    recipients = [command("key", "new", "-o", tmp_path / f"r{n}").out.strip() for n in (1, 2)]
    dpo = tmp_path / "dpo.jwk"
    dpo.write_text(command("key", "new", "--kind", "dpo", "-o", tmp_path / "dpo.key").out)
    edge = make.make_edge(
        tmp_path / "e", run_dir, "--recipient", recipients[0], "--recipient", recipients[1], "--dpo-public", str(dpo)
    )
    assert edge.recipients == recipients
    assert list(edge.paths["keys"].iterdir()) == []
    assert KeySet.load(edge.paths["trust"].read_bytes()).with_role("dpo")[0].kid == json.loads(dpo.read_text())["kid"]


def test_init_without_central(tmp_path: Path, run_dir: Path) -> None:
    edge = make.make_edge(tmp_path / "e", run_dir, "--no-central")
    assert not (tmp_path / "e" / "central").exists()
    assert edge.loaded.central.enabled is False
    assert "central" not in tomllib.loads(edge.config.read_text())


def test_init_tells_to_move_the_keys_away(tmp_path: Path, run_dir: Path) -> None:
    done = command("init", tmp_path / "e", "--edge-id", "e", "--run-dir", run_dir, "--no-central")
    assert done.code == 0, done.err
    assert f"MOVE {tmp_path / 'e' / 'keys'}" in done.out
    assert "AGE-SECRET-KEY" not in done.out + done.err


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a folder that belongs to somebody else")
def test_init_does_not_move_into_a_strangers_folder(tmp_path: Path, run_dir: Path) -> None:
    (run_dir / "spool").mkdir()
    os.chown(run_dir / "spool", 12345, 12345)
    done = command("init", tmp_path / "e", "--edge-id", "e", "--run-dir", run_dir, "--no-central")
    assert done.code == 8
    assert "belongs to somebody else" in done.err


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to another user")
def test_init_for_another_user(tmp_path: Path, run_dir: Path) -> None:
    edge = make.make_edge(tmp_path / "e", run_dir, "--owner", "64100", "--group", "64101")
    owned = ("edge_key", "agi_token", "ami_secret", "state", "vault", "resume", "prompt_cache", "central_token")
    assert {edge.paths[name].stat().st_uid for name in owned} == {64100}
    assert edge.paths["operator_identity"].stat().st_uid == 0
    spool = edge.paths["spool"].stat()
    assert (spool.st_uid, spool.st_gid) == (64100, 64101)


def test_config_check_and_prompts_and_dialplan(edge: make.Edge) -> None:
    checked = edge.run("config", "check", "--json")
    assert (checked.code, checked.json["ok"]) == (0, True)
    edge.paths["ami_secret"].chmod(0o644)
    broken = edge.run("config", "check")
    assert broken.code == 3
    assert "chmod 600" in broken.err
    prompts = edge.run("prompts", "check", "--json")
    assert prompts.code == 0, prompts.err
    assert {p["language"] for p in prompts.json["prompts"]} >= {"en", "cs"}
    assert "callwarden" in edge.run("dialplan", "print").out


def test_keys_are_not_written_over(tmp_path: Path) -> None:
    first = command("key", "new", "-o", tmp_path / "k")
    assert first.out.startswith("age1")
    before = (tmp_path / "k").read_bytes()
    again = command("key", "new", "-o", tmp_path / "k")
    assert (again.code, again.out) == (8, "")
    assert (tmp_path / "k").read_bytes() == before
