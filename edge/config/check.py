"""`config check`: what a valid configuration names, looked at on this host. Finds everything, changes nothing."""

from __future__ import annotations

import grp
import os
import stat
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Literal

from edge.config.mounts import COPY_ON_WRITE, IN_MEMORY, Mount, mount_of, parse_mountinfo, plain_swaps
from edge.config.schema import WAIVABLE, EdgeConfig
from edge.consent import epochs
from edge.consent.epochs import recipients_on
from edge.consent.jurisdiction import standing_alarms
from edge.consent.policy import Policy
from formats.credentials import is_away, too_open

#: The window that is not waived, seconds.
DAY_S = 86400


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it should be.

    severity: "error" (no recording), "warning" (works, said at every start) or "waived" (an error the operator named in
    `waive`); check: the name to waive it by, "" when it cannot be.
    """

    code: str
    severity: Literal["error", "warning", "waived"]
    message: str
    hint: str
    where: str
    check: str = ""


def check(config: EdgeConfig, *, proc: Path = Path("/proc")) -> list[Finding]:
    """Everything wrong with what `config` names. `proc` is where mounts and swaps are read (for tests)."""
    mounts = parse_mountinfo(_text(proc / "self/mountinfo"))
    swaps = plain_swaps(_text(proc / "swaps"))
    found = [
        *_secret_files(config),
        *_folders(config, mounts, swaps),
        *_group(config),
        *_prompts(config),
        *_recovery(config),
        *_local(config),
        *_window(config),
        *_standing(config, datetime.now(UTC).date()),
    ]
    return [_waive(finding, config) for finding in found]


def _window(config: EdgeConfig) -> Iterator[Finding]:
    if config.erasure.window < DAY_S:  # refused at load unless it is waived; said at every start
        message = f"an order to erase many calls can be cancelled for {config.erasure.window:g} s only"
        where = config.where("erasure", "window")
        yield Finding("config.erasure_window", "error", message, 'window = "24h"', where, "erasure-window")


def _waive(finding: Finding, config: EdgeConfig) -> Finding:
    if finding.check not in config.edge.waive:
        return finding
    message = f"{finding.message}; waived: {WAIVABLE[finding.check]}"
    return Finding(finding.code, "waived", message, finding.hint, finding.where, finding.check)


def _error(
    config: EdgeConfig, key: tuple[str, ...], code: str, message: str, hint: str, check_name: str = ""
) -> Finding:
    return Finding(code, "error", message, hint, config.where(*key), check_name)


def _secret_files(config: EdgeConfig) -> Iterator[Finding]:
    wanted = {
        ("asterisk", "ami_secret_file"): config.asterisk.ami_secret_file,
        ("asterisk", "agi_token_file"): config.asterisk.agi_token_file,
        ("edge", "signing_key_file"): config.edge.signing_key_file,
    }
    if config.notices.secret_file is not None:
        wanted["notices", "secret_file"] = config.notices.secret_file
    for key, file in wanted.items():
        if is_away(file):
            hint = "LoadCredential= in the unit brings it; docs/ops/credentials.md says how to check outside of it"
            message = f"{file} is not here: $CREDENTIALS_DIRECTORY is not set"
            yield _error(config, key, "config.credential", message, hint)
            continue
        try:
            state = file.stat()
        except OSError as e:
            yield _error(config, key, "config.file_missing", f"{file}: {e.strerror}", "callwarden init writes it")
            continue
        if not stat.S_ISREG(state.st_mode):
            yield _error(config, key, "config.file_kind", f"{file} is not a file", "name a regular file")
        elif too_open(file, state.st_mode, os.environ):
            have = stat.S_IMODE(state.st_mode)
            message = f"{file} has mode {have:04o}, so {'others' if have & 0o77 else 'programs'} may use it"
            yield _error(config, key, "config.file_mode", message, f"chmod 600 {file}")
        elif state.st_size == 0:
            yield _error(config, key, "config.file_empty", f"{file} is empty", "callwarden init writes it")
    plain = {("edge", "trust_file"): config.edge.trust_file}
    if config.central.ca_file is not None:
        plain["central", "ca_file"] = config.central.ca_file
    for key, file in plain.items():
        if not file.is_file():
            yield _error(
                config, key, "config.file_missing", f"{file} is not there", "callwarden init and enrol write it"
            )


def _folders(config: EdgeConfig, mounts: tuple[Mount, ...], swaps: tuple[str, ...]) -> Iterator[Finding]:
    edge = config.edge
    for name, folder in (("spool", edge.spool), ("resume", edge.resume)):
        key = ("edge", name)
        if not folder.is_dir():
            hint = "systemd's unit mounts it; by hand: mount -t tmpfs -o size=64m,mode=0710 tmpfs " + str(folder)
            yield _error(config, key, "spool.missing", f"{folder} is not there", hint)
            continue
        mount = mount_of(str(folder.resolve()), mounts)
        kind = mount.kind if mount else "unknown"
        if kind not in IN_MEMORY:
            hint = f"mount a tmpfs there: mount -t tmpfs -o size=64m,mode=0710 tmpfs {folder}"
            yield _error(config, key, "spool.not_tmpfs", f"{folder} lies on {kind}, not in memory", hint)
            continue
        if name == "spool" and mount and mount.point != str(folder.resolve()):
            message = f"{folder} is not a mount of its own (it lies on {mount.point})"
            yield _error(
                config, key, "spool.not_mount", message, "mount a tmpfs of its own size there", "spool-not-mount"
            )
        if swaps and kind == "tmpfs" and mount and "noswap" not in mount.options:
            message = f"{folder} may be swapped out to {', '.join(swaps)}"
            hint = "swapoff -a, encrypt swap, or mount with noswap (Linux 6.4)"
            yield _error(config, key, "environment.swap", message, hint, "unencrypted-swap")
    state = _existing(edge.state)
    mount = mount_of(str(state.resolve()), mounts)
    if mount and (mount.kind in COPY_ON_WRITE or mount.kind in IN_MEMORY):
        lost = "erased keys may survive there" if mount.kind in COPY_ON_WRITE else "keys would be lost at the next boot"
        message = f"{edge.state} lies on {mount.kind}: {lost}"
        waivable = "cow-filesystem" if mount.kind in COPY_ON_WRITE else ""
        yield _error(config, ("edge", "state"), "environment.filesystem", message, "use ext4 or xfs", waivable)


def _existing(path: Path) -> Path:
    """The path or its nearest ancestor that is there."""
    while not path.exists() and path != path.parent:
        path = path.parent
    return path


def group_id(group: str) -> int | None:
    """Numeric id of a group given by name or number; None when there is none of that name."""
    if group.isdecimal():
        return int(group)
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        return None


def _group(config: EdgeConfig) -> Iterator[Finding]:
    gid = group_id(config.asterisk.group)
    key = ("asterisk", "group")
    if gid is None:
        message = f'there is no group "{config.asterisk.group}"'
        yield _error(config, key, "config.no_group", message, "name the group Asterisk runs under, or its number")
    elif os.geteuid() != 0 and gid not in (os.getegid(), *os.getgroups()):
        message = f'this process is not in group "{config.asterisk.group}" and could not give it spool files'
        yield Finding(
            "config.group_member", "warning", message, "run the check as the daemon's user", config.where(*key)
        )


def _prompts(config: EdgeConfig) -> Iterator[Finding]:
    """Only that each language has the prompt; `edge.prompts.check` listens to the audio."""
    for name, policy in config.policies.items():
        if not policy.speaks:
            continue
        for number, language in enumerate(policy.languages):
            manifest = config.edge.prompts / language / "manifest.toml"
            place = config.where("policy", name, "languages", number)
            hint = f"there are: {_languages(config.edge.prompts)}; docs/configuration.md says how to add a language"
            try:
                ids = {
                    prompt.get("id") for prompt in tomllib.loads(manifest.read_text(encoding="utf-8")).get("prompt", [])
                }
            except FileNotFoundError:
                yield Finding(
                    "prompt.no_language",
                    "error",
                    f'policy "{name}" speaks "{language}", but {manifest} is not there',
                    hint,
                    place,
                )
                continue
            except (OSError, ValueError) as e:
                yield Finding(
                    "prompt.manifest", "error", f"{manifest} cannot be read: {e}", "make prompts writes it", place
                )
                continue
            if policy.prompt_id not in ids:
                message = f'{manifest} has no prompt "{policy.prompt_id}"'
                yield Finding("prompt.unknown", "error", message, f"it has {', '.join(sorted(map(str, ids)))}", place)


def _languages(folder: Path) -> str:
    return ", ".join(sorted(m.parent.name for m in folder.glob("*/manifest.toml"))) or f"none in {folder}"


def _recovery(config: EdgeConfig) -> Iterator[Finding]:
    for name, policy in config.policies.items():
        if policy.mode != "never" and _without_recovery(policy, config):
            message = f'policy "{name}" has no recovery recipient'
            key = ("policy", name, "recipients")
            yield _error(
                config,
                key,
                "recipient.no_recovery",
                message,
                "add a key that is kept elsewhere",
                "no-recovery-recipient",
            )
    if not config.policies:
        yield Finding(
            "policy.none",
            "warning",
            "there is no policy, so no call is ever recorded",
            "add [policy.NAME] to a file in conf.d",
            str(config.path),
        )


def _without_recovery(policy: Policy, config: EdgeConfig) -> bool:
    recipients = recipients_on(policy, datetime.now(UTC).date())
    named = set(config.keys.recovery)
    return len(recipients) < 2 or (bool(named) and not named & set(recipients))


def _local(config: EdgeConfig) -> Iterator[Finding]:
    """The one case in which this host can read what it has recorded."""
    for name, policy in config.policies.items():
        if config.keys.local and config.keys.local in epochs.named_by(policy):
            message = f'policy "{name}" can be played on this host: the identity of one of its recipients lies here'
            hint = "remove it where local playback is not needed: who owns this host owns its recordings"
            yield Finding("recipient.local", "warning", message, hint, config.where("policy", name, "recipients"))


def _standing(config: EdgeConfig, today: date) -> Iterator[Finding]:
    """What somebody answers for until a day, and what that day has ended."""
    for alarm in standing_alarms(config.policies, config.jurisdictions, today):
        severity: Literal["error", "warning"] = "warning" if alarm.code == "policy.override" else "error"
        hint = "a mode as strong as the law asks needs none"
        yield Finding(alarm.code, severity, alarm.message, hint, config.where("policy", alarm.policy, "override"))
    for alarm in epochs.alarms(config.policies, today):
        yield Finding(
            alarm.code, "warning", alarm.message, "callwarden key rotate --month makes one",
            config.where("policy", alarm.policy, "epoch_keys"),
        )  # fmt: skip
    for name, agent in config.agents.items():
        if agent.until is not None and agent.until.as_date < today and not agent.revoked:
            message = f'the basis of agent "{name}" ran out on {agent.until}'
            hint = "renew it with its new reference, or remove the agent"
            yield Finding("agent.expired", "warning", message, hint, config.where("agents", name, "until"))


def _text(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:
        return ""
