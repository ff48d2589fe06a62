"""`config check` on real files, and its reading of what the kernel says."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edge.config import Finding, check, load
from edge.config.mounts import mount_of, parse_mountinfo, plain_swaps
from formats.age import X25519Identity

SHIPPED = Path(__file__).parents[3] / "prompts"
KEYS = [str(X25519Identity.generate(bytes([n]) * 32).recipient()) for n in (1, 2)]
SUPPORT = f"""\
[policy.support]
mode = "opt_in"
purposes = ["quality"]
languages = ["en", "cs"]
recipients = ["{KEYS[0]}", "{KEYS[1]}"]
"""
SWAPS = "Filename\tType\tSize\tUsed\tPriority\n"


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """A configuration with everything in place, on a /proc that says the spool is a tmpfs of its own."""
    for name in ("ami.secret", "agi.token", "edge.key"):
        (tmp_path / name).write_text("x" * 32)
        (tmp_path / name).chmod(0o600)
    for name in ("spool", "resume", "state", "proc/self"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "trust.json").write_text("{}")
    mounts = ["22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/vda rw"]
    mounts += [f"3 22 0:4{n} / {tmp_path}/{n} rw,nosuid - tmpfs tmpfs rw,size=65536k" for n in ("spool", "resume")]
    (tmp_path / "proc/self/mountinfo").write_text("\n".join(mounts))
    (tmp_path / "proc/swaps").write_text(SWAPS)
    main = f"""\
[edge]
id = "e"
spool = "spool"
resume = "resume"
state = "state"
signing_key_file = "edge.key"
trust_file = "trust.json"
prompts = "{SHIPPED}"
[asterisk]
ami_secret_file = "ami.secret"
agi_token_file = "agi.token"
group = "{os.getegid()}"
"""
    (tmp_path / "edge.toml").write_text(main)
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d/support.toml").write_text(SUPPORT)
    return tmp_path


def findings(host: Path) -> list[Finding]:
    return check(load(host / "edge.toml"), proc=host / "proc")


def only(host: Path) -> Finding:
    found = findings(host)
    assert len(found) == 1, found
    assert found[0].hint
    return found[0]


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def test_nothing_wrong(host: Path) -> None:
    assert findings(host) == []


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o700])
def test_open_secret(host: Path, mode: int) -> None:
    (host / "agi.token").chmod(mode)
    finding = only(host)
    assert (finding.code, finding.severity, finding.where) == ("config.file_mode", "error", f"{host}/edge.toml:11")
    assert "chmod 600" in finding.hint


def test_missing_empty_and_wrong_kind_of_secret(host: Path) -> None:
    (host / "ami.secret").unlink()
    (host / "agi.token").write_text("")
    (host / "edge.key").unlink()
    (host / "edge.key").mkdir()
    assert [f.code for f in findings(host)] == ["config.file_missing", "config.file_empty", "config.file_kind"]


def test_open_secret_of_the_text_gateway(host: Path) -> None:
    text = (host / "edge.toml").read_text()
    (host / "edge.toml").write_text(text + '[notices]\nurl = "https://sms.example"\nsecret_file = "sms.secret"\n')
    assert only(host).code == "config.file_missing"
    (host / "sms.secret").write_text("whsec_x")
    (host / "sms.secret").chmod(0o644)
    assert (only(host).code, only(host).where) == ("config.file_mode", f"{host}/edge.toml:15")


def test_missing_trust_file(host: Path) -> None:
    (host / "trust.json").unlink()
    assert only(host).code == "config.file_missing"


def test_spool_on_disk(host: Path) -> None:
    edit(host / "proc/self/mountinfo", f"{host}/spool rw,nosuid - tmpfs", f"{host}/spool rw,nosuid - ext4")
    finding = only(host)
    assert (finding.code, finding.where) == ("spool.not_tmpfs", f"{host}/edge.toml:3")
    assert finding.check == "", "speech on a disk cannot be waived"


def test_spool_that_is_a_folder_of_a_larger_tmpfs(host: Path) -> None:
    edit(host / "proc/self/mountinfo", f"{host}/spool rw", f"{host} rw")
    edit(host / "edge.toml", 'state = "state"', 'state = "/"')
    assert only(host).check == "spool-not-mount"
    edit(host / "edge.toml", 'id = "e"', 'id = "e"\nwaive = ["spool-not-mount"]')
    assert only(host).severity == "waived"
    assert "waived: other files share" in only(host).message


def test_missing_spool(host: Path) -> None:
    (host / "spool").rmdir()
    assert only(host).code == "spool.missing"


def test_swap_in_the_clear(host: Path) -> None:
    (host / "proc/swaps").write_text(SWAPS + "/dev/sda2 partition 1 0 -2\n")
    found = findings(host)
    assert [(f.code, f.check) for f in found] == [("environment.swap", "unencrypted-swap")] * 2
    for name in ("spool", "resume"):
        edit(host / "proc/self/mountinfo", f"{host}/{name} rw,nosuid", f"{host}/{name} rw,noswap")
    assert findings(host) == []


def test_swap_in_memory_is_no_disk(host: Path) -> None:
    (host / "proc/swaps").write_text(SWAPS + "/dev/zram0 partition 1 0 100\n")
    assert findings(host) == []


@pytest.mark.parametrize(
    ("kind", "waivable"), [("btrfs", "cow-filesystem"), ("overlay", "cow-filesystem"), ("tmpfs", "")]
)
def test_slots_need_a_disk_that_overwrites(host: Path, kind: str, waivable: str) -> None:
    edit(host / "proc/self/mountinfo", "- ext4", f"- {kind}")
    finding = only(host)
    assert (finding.code, finding.check, finding.where) == (
        "environment.filesystem",
        waivable,
        f"{host}/edge.toml:5",
    )


def test_unknown_group(host: Path) -> None:
    edit(host / "edge.toml", f'group = "{os.getegid()}"', 'group = "no-such-group"')
    assert (only(host).code, only(host).where) == ("config.no_group", f"{host}/edge.toml:12")


def test_missing_prompt_language_points_at_the_policy(host: Path) -> None:
    edit(host / "conf.d/support.toml", '["en", "cs"]', '["en", "xx"]')
    finding = only(host)
    assert (finding.code, finding.where) == ("prompt.no_language", f"{host}/conf.d/support.toml:4")
    assert "cs, de, en" in finding.hint


def test_unknown_prompt(host: Path) -> None:
    edit(host / "conf.d/support.toml", 'languages = ["en", "cs"]', 'languages = ["en"]\nprompt = "sing"')
    finding = only(host)
    assert (finding.code, "ask_again" in finding.hint) == ("prompt.unknown", True)


def test_no_policy_is_said(host: Path) -> None:
    (host / "conf.d/support.toml").unlink()
    assert (only(host).code, only(host).severity) == ("policy.none", "warning")


def test_waived_recovery_recipient_is_said_every_time(host: Path) -> None:
    edit(host / "conf.d/support.toml", f', "{KEYS[1]}"', "")
    edit(host / "edge.toml", 'id = "e"', 'id = "e"\nwaive = ["no-recovery-recipient"]')
    assert (only(host).code, only(host).severity) == ("recipient.no_recovery", "waived")


def test_what_somebody_answers_for_is_said_every_time(host: Path) -> None:
    override = 'override = { who = "the director", why = "DPIA 7", until = "2999-12-31" }\n'
    weak = SUPPORT.replace('"opt_in"', '"notice"') + 'basis = "contract"\nbasis_reference = "assessment 2026-03"\n'
    (host / "conf.d/support.toml").write_text(weak + override)
    finding = only(host)
    assert (finding.code, finding.severity, finding.where) == (
        "policy.override", "warning", f"{host}/conf.d/support.toml:8"
    )  # fmt: skip
    assert "the director" in finding.message


def test_an_agents_basis_that_ran_out(host: Path) -> None:
    agent = '[agents.anna]\ndevice = "PJSIP/a"\nbasis = "contract"\nreference = "x"\nuntil = 2020-01-01\n'
    (host / "conf.d/agents.toml").write_text(agent)
    assert (only(host).code, only(host).where) == ("agent.expired", f"{host}/conf.d/agents.toml:5")
    (host / "conf.d/agents.toml").write_text(agent + "revoked = true\n")
    assert findings(host) == []


def test_mounts_as_the_kernel_writes_them() -> None:
    text = "1 0 8:1 / / rw shared:1 master:2 - ext4 /dev/a rw\n2 1 0:5 / /a\\040b rw,noexec - tmpfs x rw,noswap\n"
    mounts = parse_mountinfo(text)
    assert [(m.point, m.kind) for m in mounts] == [("/", "ext4"), ("/a b", "tmpfs")]
    assert {"noexec", "noswap"} <= mounts[1].options
    inside, beside = mount_of("/a b/c", mounts), mount_of("/a bc", mounts)
    assert inside is mounts[1]
    assert beside is mounts[0]


def test_this_machines_own_mounts_can_be_read() -> None:
    mounts = parse_mountinfo(Path("/proc/self/mountinfo").read_text())
    proc = mount_of("/proc/self", mounts)
    assert proc is not None
    assert proc.kind == "proc"


def test_device_mapper_swap_is_left_to_doctor() -> None:
    assert plain_swaps(SWAPS + "/dev/dm-1 partition 1 0 -2\n/swapfile file 1 0 -3\n") == ("/swapfile",)
