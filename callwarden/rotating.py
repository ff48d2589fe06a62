"""Changes of recipients in the configuration's files: what would be written, judged before anything is."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from callwarden.tomledit import add_to_list, set_text
from edge.config import EdgeConfig, load
from edge.durable import write_file
from edge.errors import CallwardenError


@dataclass(frozen=True)
class Change:
    """One added value. file: where; line: what a person would write; text: the whole file with every change in it."""

    policy: str
    file: Path
    line: str
    text: str = ""


def chosen(config: EdgeConfig, names: Sequence[str], month: str | None) -> list[str]:
    """The policies a new recipient is for. Raises not_found.policy, usage.month."""
    recording = [one.name for one in config.policies.values() if one.mode != "never"]
    for name in names:
        if name not in recording:
            hint = f"those that record: {', '.join(sorted(recording)) or 'none'}"
            raise CallwardenError("not_found.policy", "no such policy records", hint=hint, where=name)
    found = list(dict.fromkeys(names)) or recording
    monthly = [name for name in found if config.policies[name].epochs]
    if month and len(monthly) != len(found):
        other = next(name for name in found if name not in monthly)
        hint = 'name others with --policy, or write epochs = "monthly" there'
        raise CallwardenError("usage.month", f'policy "{other}" has no key a month', hint=hint, where="--month")
    if monthly and not month:
        hint = "--month YYYY-MM says which month it is for, or name other policies with --policy"
        raise CallwardenError("usage.month", f'policy "{monthly[0]}" has a key a month', hint=hint, where=monthly[0])
    return found


def changes(config: EdgeConfig, policies: Sequence[str], recipient: str, month: str | None) -> list[Change]:
    """`recipient` added to each of the policies, or made the key of one of their months.

    Raises config.edit, environment.file.
    """
    texts: dict[Path, str] = {}
    found = []
    for policy in policies:
        key = ("policy", policy, "epoch_keys" if month else "recipients")
        file = _file_of(config, *key)
        before = texts.get(file) or _read(file)
        if month:
            texts[file] = set_text(before, (*key, month), recipient)
            line = f'[{".".join(key)}] "{month}" = "{recipient}"'
        else:
            texts[file] = add_to_list(before, key, recipient)
            line = f'recipients: add "{recipient}"'
        found.append(Change(policy, file, line))
    judge(config, texts)
    return [replace(one, text=texts[one.file]) for one in found]


def retire(config: EdgeConfig, recipient: str) -> None:
    """Put `recipient` into `[keys] retired`. Raises config.*, recipient.*: then nothing is changed."""
    file = _file_of(config, "keys", "retired")
    texts = {file: add_to_list(_read(file), ("keys", "retired"), recipient)}
    judge(config, texts)
    write([Change("", file, "", texts[file])])


def judge(config: EdgeConfig, texts: Mapping[Path, str]) -> None:
    """Load the configuration as it would be with `texts` in the place of their files. Raises what `load` raises."""
    load(config.path, instead=texts)


def write(made: Sequence[Change]) -> None:
    """Each file whole or as it was, with its owner and mode. Raises environment.file."""
    for file, text in {one.file: one.text for one in made}.items():
        try:
            state = file.stat()
            write_file(str(file), text.encode(), mode=stat.S_IMODE(state.st_mode))
            if (state.st_uid, state.st_gid) != (os.geteuid(), os.getegid()):
                os.chown(file, state.st_uid, state.st_gid)
        except OSError as error:
            raise CallwardenError(
                "environment.file", f"cannot be written: {error.strerror}", where=str(file)
            ) from error


def _file_of(config: EdgeConfig, *key: str) -> Path:
    """The file that has the key, or its table; else the main one."""
    for length in range(len(key), 0, -1):
        if place := config.places.get(key[:length]):
            return Path(place.rpartition(":")[0])
    return config.path


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise CallwardenError("environment.file", f"cannot be read: {error.strerror}", where=str(file)) from error
