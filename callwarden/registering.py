"""The register of one edge, from its own policies; and how a document of the register is printed, wherever it comes from."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path
from typing import Any

from callwarden.door import open_door
from callwarden.output import json_text
from edge.config import EdgeConfig, load
from edge.errors import CallwardenError
from edge.prompts.manifest import PromptEntry, parse_manifest
from edge.prompts.report import reports
from formats.errors import FormatError
from formats.register import FORMS, Answers, Document, InForce, Setting, build, entries, parse_answers, parse_report


def running(config: Path, *, from_files: bool) -> list[InForce]:
    """What the daemon put into effect last, or with `from_files` what a start would put into effect now (since then no date).

    Raises CallwardenError, not_found.policy when this edge never ran a policy.
    """
    if from_files:
        loaded = load(config)
        found = reports(loaded, _prompts(loaded))
        return [InForce(loaded.edge.id, "", parse_report(found[name])) for name in sorted(found)]
    with open_door(config) as door:
        told, edge_id = door.policies(), str(door.status()["edge_id"])
    if not told:
        raise CallwardenError(
            "not_found.policy", "no policy was ever put into effect here",
            hint="start the daemon, or read the files: --from-files", where=str(config),
        )  # fmt: skip
    return [InForce(edge_id, one.at, one) for one in map(_report, told)]


def local(kind: str, running: list[InForce], answers: Answers, *, policy: str, lang: str) -> Document:
    """A document about one edge. Raises CallwardenError not_found.policy."""
    found = entries(running, policy)
    if policy and not found:
        raise CallwardenError("not_found.policy", "this edge runs no such policy", where=policy)
    return build(kind, found, answers, Setting(), lang=lang, only=policy)


def read_answers(path: Path | None) -> Answers:
    """A `register.toml`. Raises CallwardenError environment.file, config.register."""
    if path is None:
        return Answers()
    try:
        return parse_answers(tomllib.loads(path.read_text("utf-8")))
    except OSError as error:
        raise CallwardenError("environment.file", f"cannot be read: {error.strerror}", where=str(path)) from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise CallwardenError("config.register", f"not TOML: {error}", where=str(path)) from error
    except FormatError as error:
        hint = "docs/register.md shows every member"
        raise CallwardenError("config.register", error.message, hint=hint, where=str(path)) from error


def moment(text: str | None) -> str:
    """A day or a time as central takes it. Raises CallwardenError usage.time."""
    if not text:
        return ""
    try:
        return f"{date.fromisoformat(text).isoformat()}T00:00:00.000Z" if len(text) == 10 else text
    except ValueError as error:
        raise CallwardenError(
            "usage.time", f"no such day: {text}", hint='"2026-10-01" or "2026-10-01T08:00:00.000Z"'
        ) from error


def show(document: Document, form: str) -> None:
    """On stdout."""
    sys.stdout.write(json_text(document.plain()) if form == "json" else FORMS[form](document))


def _report(told: Mapping[str, Any]) -> Any:
    try:
        return parse_report(told)
    except FormatError as error:
        raise CallwardenError("daemon.answer", error.message) from error


def _prompts(config: EdgeConfig) -> Callable[[str, str], PromptEntry]:
    """Prompts by their manifests alone: nothing is copied, and nobody looks at the audio."""
    found: dict[tuple[str, str], PromptEntry] = {}
    for file in sorted(config.edge.prompts.glob("*/manifest.toml")):
        try:
            manifest = parse_manifest(file.read_text("utf-8"), file)
        except (OSError, UnicodeDecodeError) as error:
            raise CallwardenError("prompt.manifest", str(error), where=str(file)) from error
        found |= {(entry.id, manifest.language): entry for entry in manifest.prompt}

    def resolve(prompt_id: str, language: str) -> PromptEntry:
        if (entry := found.get((prompt_id, language))) is None:
            raise CallwardenError("prompt.unknown", "there is no such prompt", where=f"{language}/{prompt_id}")
        return entry

    return resolve
