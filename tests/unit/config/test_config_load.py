"""Loading: what a good configuration becomes, and that every bad one is refused with file, line and fix."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.config import load, socket_of
from edge.errors import CallwardenError, Exit
from formats.age import HybridIdentity, X25519Identity

OPERATOR, RECOVERY = (str(X25519Identity.generate(bytes([n]) * 32).recipient()) for n in (1, 2))
QUANTUM = str(HybridIdentity.generate(bytes([3]) * 32).recipient())

MAIN = """\
[edge]
id = "pbx-brno-1"
vault = "sealed"
[asterisk]
ami = "127.0.0.1:5038"
guard_deadline = "1500ms"
dead_man = "PT1M"
[central]
url = "https://127.0.0.1:8443"
ca_file = "ca.pem"
"""

SUPPORT = f"""\
# line 1
[policy.support]
mode = "opt_in"
match = {{ did = ["+420555100200"], queue = ["support"] }}
basis = "consent"
basis_reference = "privacy notice 3.1"
purposes = ["quality", "evidence"]
languages = ["en", "cs"]
answer_window = "5s"
remember = "P30D"
capture = {{ codec = "sln", rate = 8000, channels = 2, seal_every = "4s" }}
recipients = [
  "{OPERATOR}",  # operator
  "{RECOVERY}",
]
[policy.support.retention]
recordings = "P6M"
"""


def write(folder: Path, main: str = MAIN, support: str | None = SUPPORT) -> Path:
    (folder / "conf.d").mkdir(exist_ok=True)
    (folder / "edge.toml").write_text(main)
    if support is not None:
        (folder / "conf.d" / "support.toml").write_text(support)
    return folder / "edge.toml"


def test_good_configuration_becomes_frozen_values(tmp_path: Path) -> None:
    config = load(write(tmp_path))
    assert config.edge.id == "pbx-brno-1"
    assert config.edge.vault == tmp_path / "sealed"
    assert config.edge.spool == Path("/run/callwarden/spool")
    assert config.edge.resume == Path("/run/callwarden/resume")
    assert (config.asterisk.ami.host, config.asterisk.ami.port) == ("127.0.0.1", 5038)
    assert (config.asterisk.guard_deadline, config.asterisk.dead_man) == (1.5, 60.0)
    assert config.central.enabled
    assert config.central.ca_file == tmp_path / "ca.pem"
    policy = config.policies["support"]
    assert policy.match.did == ("+420555100200",)
    assert policy.recipients == (OPERATOR, RECOVERY)
    assert (policy.answer_window.ms, policy.retention.recordings) == (5000, "P6M")
    assert config.where("policy", "support", "recipients", 1).endswith("conf.d/support.toml:14")
    with pytest.raises(AttributeError):
        policy.mode = "never"  # type: ignore[misc]
    with pytest.raises(TypeError):
        config.policies["other"] = policy  # type: ignore[index]


def test_without_central_and_policies_nothing_is_sent_or_recorded(tmp_path: Path) -> None:
    config = load(write(tmp_path, '[edge]\nid = "e"\n', None))
    assert not config.central.enabled
    assert config.policies == {}


def test_relative_paths_belong_to_the_file_that_wrote_them(tmp_path: Path) -> None:
    path = write(tmp_path, '[edge]\nid = "e"\n', '[edge]\nspool = "spool"\n')
    assert load(path).edge.spool == tmp_path / "conf.d" / "spool"


def refused(path: Path) -> CallwardenError:
    with pytest.raises(CallwardenError) as caught:
        load(path)
    error = caught.value
    assert error.exit_code == Exit.CONFIG
    assert error.hint, "every refusal says what to do"
    return error


@pytest.mark.parametrize(
    ("old", "new", "line", "code", "words"),
    [
        ("languages =", "langauges =", 8, "config.unknown_key", 'did you mean "languages"'),
        ("seal_every =", "seal_evry =", 11, "config.unknown_key", 'did you mean "seal_every"'),
        ('recordings = "P6M"', 'recording = "P6M"', 17, "config.unknown_key", 'did you mean "recordings"'),
        ('"5s"', '"5 parsecs"', 9, "config.value", "expected a duration"),
        ('"5s"', "5", 9, "config.value", "expected a duration in quotes"),
        ('"5s"', '"31s"', 9, "policy.out_of_range", "1 s to 30 s"),
        ('"P30D"', '"30 days"', 10, "config.value", "expected a period"),
        ('"P30D"', '"P3Y"', 10, "policy.out_of_range", "at most"),
        ('"P6M"', '"P0D"', 17, "policy.out_of_range", "no time at all"),
        ('"4s"', '"20s"', 11, "policy.out_of_range", "0.5 s to 8 s"),
        ("rate = 8000", "rate = 44100", 11, "config.value", "44100"),
        ("rate = 8000", 'rate = "8000"', 11, "config.value", "whole number"),
        ("channels = 2", "channels = 3", 11, "config.value", "3"),
        ('["en", "cs"]', '"en"', 8, "config.value", "a list"),
        ('["en", "cs"]', '["en", 7]', 8, "config.value", "text in quotes"),
        ('["en", "cs"]', "[]", 8, "policy.no_language", "languages"),
        ('["quality", "evidence"]', "[]", 7, "policy.no_purpose", "purpose"),
        ('mode = "opt_in"', 'mode = "optin"', 3, "config.value", "optin"),
        ("rate = 8000", "rate = 16000", 11, "policy.capture", "8000 samples a second"),
        ('"P6M"', '"P6M"\n[policy.support.override]\nwho = "x"\nwhy = "y"', 18, "config.missing_key", "until"),
        ('mode = "opt_in"', 'suite = "aes128"\nmode = "opt_in"', 3, "config.value", "aes128"),
        ('basis = "consent"', 'basis = "contract"', 5, "policy.basis", "cannot stand on"),
        (OPERATOR, "ssh-ed25519 AAAAC3Nza", 13, "recipient.unknown_kind", "ssh-ed25519"),
        (OPERATOR, "age1yubikey1qf0", 13, "recipient.unknown_kind", "yubikey"),
        (OPERATOR, OPERATOR[:-1] + "q", 13, "recipient.bech32", "checksum"),
        (RECOVERY, OPERATOR, 14, "recipient.twice", "twice"),
        (RECOVERY, QUANTUM, 14, "recipient.mixed", "mixed"),
        (f'  "{RECOVERY}",\n', "", 12, "recipient.no_recovery", "recovery"),
        ('purposes = ["quality", "evidence"]', 'purposes = ["quality" "evidence"]', 7, "config.syntax", "not TOML"),
        ('[policy.support]\nmode = "opt_in"', "[policy.support]", 2, "config.missing_key", "mode"),
        ("[policy.support]", "[policy.unknown]", 2, "config.value", "no daemon was there"),
    ],
)
def test_bad_policy_is_refused_where_it_stands(
    tmp_path: Path, old: str, new: str, line: int, code: str, words: str
) -> None:
    assert old in SUPPORT
    error = refused(write(tmp_path, support=SUPPORT.replace(old, new, 1)))
    assert (error.where, error.code) == (f"{tmp_path}/conf.d/support.toml:{line}", code)
    assert words in str(error)


@pytest.mark.parametrize(
    ("main", "line", "code", "words"),
    [
        ('[edge]\nid = "e"\nspol = "x"\n', 3, "config.unknown_key", 'did you mean "spool"'),
        ('[edge]\nid = "e"\n[asterix]\n', 3, "config.unknown_key", 'did you mean "asterisk"'),
        ('[edge]\nid = "E!"\n', 2, "config.value", "cannot name an edge"),
        ('[edge]\n\nspool = "/x"\n', 1, "config.missing_key", "id"),
        ('[edge]\nid = "e"\nspool = 5\n', 3, "config.value", "a path in quotes"),
        ('[edge]\nid = "e"\nspool = ""\n', 3, "config.value", "empty"),
        ('[edge]\nid = "e"\nwaive = ["unencrypted-swop"]\n', 3, "config.value", 'did you mean "unencrypted-swap"'),
        ("edge = 5\n", 1, "config.type", "[edge]"),
        ('[edge]\nid = "e"\n[asterisk]\nami = "192.0.2.1:5038"\n', 4, "config.value", "loopback"),
        ('[edge]\nid = "e"\n[asterisk]\nagi_listen = "0.0.0.0:4573"\n', 4, "config.value", "loopback"),
        ('[edge]\nid = "e"\n[asterisk]\nami = "127.0.0.1"\n', 4, "config.value", "host:port"),
        ('[edge]\nid = "e"\n[asterisk]\nguard_deadline = "1m"\n', 4, "config.value", "0.5 s to 10 s"),
        ('[edge]\nid = "e"\n[central]\nurl = "http://central.example"\n', 4, "config.value", "https"),
        ('[edge]\nid = "e"\n[central]\nurl = "central.example"\n', 4, "config.value", "not an address"),
        ('[edge]\nid = "e"\n[asterisk]\nami = "127.a.b.c:5038"\n', 4, "config.value", "loopback"),
        ('[edge]\nid = "e"\n[central]\nurl = "http://127.example.com"\n', 4, "config.value", "https"),
        ('[edge]\nid = "e"\n[central]\nurl = "https://[::1"\n', 4, "config.value", "not an address"),
        ('[edge]\nid = "e"\n[central]\nurl = "https://a:hunter2@b"\n', 4, "config.secret_in_toml", "password"),
        ('[edge]\nid = "e"\n[central]\nurl = "a:hunter2@b"\n', 4, "config.value", "not an address"),
        ('[edge]\nid = "e"\n[central]\n', 3, "config.value", "not an address"),
        ('[edge]\nid = "e"\n[asterisk]\nami_secret = "hunter2"\n', 4, "config.secret_in_toml", "ami_secret_file"),
        ('[edge]\nid = "e"\nsigning_key = "hunter2"\n', 3, "config.secret_in_toml", "signing_key_file"),
        ('[edge]\nid = "e"\nid = "f"\n', 3, "config.syntax", "not TOML"),
    ],
)
def test_bad_main_file_is_refused_where_it_stands(tmp_path: Path, main: str, line: int, code: str, words: str) -> None:
    error = refused(write(tmp_path, main, None))
    assert (error.where, error.code) == (f"{tmp_path}/edge.toml:{line}", code)
    assert words in str(error)
    assert "hunter2" not in str(error)


def test_private_key_as_recipient_is_refused_and_not_repeated(tmp_path: Path) -> None:
    secret = str(X25519Identity.generate(bytes([9]) * 32))
    error = refused(write(tmp_path, support=SUPPORT.replace(RECOVERY, secret)))
    assert (error.code, error.where) == ("config.secret_in_toml", f"{tmp_path}/conf.d/support.toml:14")
    assert secret not in str(error)
    assert secret[20:40] not in repr(error)


def test_recovery_recipient_can_be_waived_by_name(tmp_path: Path) -> None:
    main = '[edge]\nid = "e"\nwaive = ["no-recovery-recipient"]\n'
    config = load(write(tmp_path, main, SUPPORT.replace(f'  "{RECOVERY}",\n', "")))
    assert config.policies["support"].recipients == (OPERATOR,)


def test_quantum_recipients_alone_are_taken(tmp_path: Path) -> None:
    other = str(HybridIdentity.generate(bytes([4]) * 32).recipient())
    config = load(write(tmp_path, support=SUPPORT.replace(OPERATOR, QUANTUM).replace(RECOVERY, other)))
    assert config.policies["support"].recipients == (QUANTUM, other)


def test_key_set_in_two_files_names_both_places(tmp_path: Path) -> None:
    error = refused(write(tmp_path, MAIN, '[edge]\nid = "other"\n'))
    assert (error.code, error.where) == ("config.twice", f"{tmp_path}/conf.d/support.toml:2")
    assert f"{tmp_path}/edge.toml:2" in error.hint


def test_number_in_two_policies_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path)
    second = SUPPORT.replace("policy.support", "policy.sales").replace("+420555100200", "00420 555 100 200")
    (tmp_path / "conf.d" / "z.toml").write_text(second.replace('"support"', '"sales"'))
    error = refused(path)
    assert (error.code, error.where) == ("policy.overlap", f"{tmp_path}/conf.d/z.toml:4")
    assert '"support"' in error.message


def test_missing_file_says_what_writes_one(tmp_path: Path) -> None:
    error = refused(tmp_path / "edge.toml")
    assert (error.code, error.where) == ("config.missing", f"{tmp_path}/edge.toml")


def test_never_needs_neither_purpose_nor_recipient(tmp_path: Path) -> None:
    config = load(write(tmp_path, support='[policy.works-council]\nmode = "never"\n'))
    assert config.policies["works-council"].mode == "never"


def test_the_socket_is_found_whatever_is_wrong_elsewhere(tmp_path: Path) -> None:
    main = '[edge]\nid = "e"\nsocket = "run/edge.sock"\n[policy.x]\nmode = "maybe"\n'
    path = write(tmp_path, main, "not TOML at all")
    refused(path)
    assert socket_of(path) == tmp_path / "run/edge.sock"
    assert socket_of(write(tmp_path, '[edge]\nid = "E!"\n', None)) == Path("/run/callwarden/edge.sock")
    for text in ("[edge", "edge = 5\n", "[edge]\nsocket = 5\n"):
        assert socket_of(write(tmp_path, text, None)) is None
    assert socket_of(tmp_path / "nowhere.toml") is None
