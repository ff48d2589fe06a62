"""Reading the configuration: TOML files in, one frozen `EdgeConfig` out, or an error that names file, line and fix."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar
from urllib.parse import urlsplit

import msgspec

from edge.config.files import Key, Source, dotted, leaves
from edge.config.recipients import check_recipients
from edge.config.schema import WAIVABLE, Address, AsteriskSection, CentralSection, EdgeConfig, EdgeSection, is_loopback
from edge.config.words import example, plain_words
from edge.consent.policy import Choices, Policy
from edge.consent.policy_rules import overlaps, problems
from edge.consent.units import Day, Period, Seconds
from edge.errors import CallwardenError

T = TypeVar("T", bound=msgspec.Struct)

#: Keys that would hold a secret. The value is never repeated in an error.
_SECRET_KEYS = {
    "ami_secret": "ami_secret_file",
    "secret": "ami_secret_file",
    "password": "ami_secret_file",
    "ami_password": "ami_secret_file",
    "agi_token": "agi_token_file",
    "token": "agi_token_file",
    "signing_key": "signing_key_file",
    "private_key": "signing_key_file",
    "identity": "",
    "identities": "",
}
_SECRET_VALUE = re.compile(r"AGE-SECRET-KEY-|AGE-PLUGIN-|-----BEGIN [A-Z ]*PRIVATE KEY", re.IGNORECASE)
_EDGE_ID = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_SECTIONS: Mapping[str, type[msgspec.Struct]] = {
    "edge": EdgeSection,
    "asterisk": AsteriskSection,
    "central": CentralSection,
}


def load(path: Path) -> EdgeConfig:
    """Read `path` and conf.d/*.toml beside it (in order of name).

    Raises CallwardenError `config.*`, `policy.*` or `recipient.*` with `where` = "file:line". Touches nothing but these
    files; what they name is looked at by `edge.config.check`.
    """
    path = path.absolute()
    files = [path, *sorted((path.parent / "conf.d").glob("*.toml"))]
    source = Source(path)
    for file in files:
        source.take(file)
    return _Reader(source).finish()


class _Reader:
    def __init__(self, source: Source) -> None:
        self.source = source
        self.path = source.path
        self.tree = source.tree

    def finish(self) -> EdgeConfig:
        self._refuse_secrets()
        known = [*_SECTIONS, "policy"]
        for name, table in self.tree.items():
            if name not in known:
                raise self._unknown((name,), known)
            if not isinstance(table, dict):
                raise self.source.error((name,), "config.type", f"{name} must be a table", hint=f"write [{name}]")
        if "edge" not in self.tree:
            raise CallwardenError(
                "config.missing_key", "there is no [edge] table", hint='[edge] with id = "…"', where=str(self.path)
            )
        edge = self._section("edge", EdgeSection)
        asterisk = self._section("asterisk", AsteriskSection)
        central = self._section("central", CentralSection) if "central" in self.tree else CentralSection(enabled=False)
        self._check_sections(edge, asterisk, central)
        policies = self._policies(edge)
        return EdgeConfig(
            path=self.path,
            edge=edge,
            asterisk=asterisk,
            central=central,
            policies=MappingProxyType(policies),
            places=MappingProxyType(dict(self.source.where)),
        )

    def _refuse_secrets(self) -> None:
        for key, value in leaves(self.tree):
            names = [part for part in key if isinstance(part, str)]
            texts = value if isinstance(value, list) else [value]
            for number, text in enumerate(texts):
                if isinstance(text, str) and _SECRET_VALUE.search(text):
                    spot: Key = (*key, number) if isinstance(value, list) else key
                    message = f"{dotted(key)} holds a private key"
                    hint = "recipients are public keys (age1…); a private key that stood here is burnt: make a new one"
                    raise self.source.error(spot, "config.secret_in_toml", message, hint=hint)
            if names[-1] in _SECRET_KEYS:
                file_key = _SECRET_KEYS[names[-1]]
                hint = (
                    f'put it into a file of mode 0600 and name that: {file_key} = "…"'
                    if file_key
                    else "it does not belong on this host"
                )
                raise self.source.error(
                    key, "config.secret_in_toml", f"{dotted(key)}: secrets are never written in TOML", hint=hint
                )

    def _section(self, name: str, kind: type[T]) -> T:
        return self._convert((name,), dict(self.tree.get(name, {})), kind)

    def _policies(self, edge: EdgeSection) -> dict[str, Policy]:
        found: dict[str, Policy] = {}
        for name, table in self.tree.get("policy", {}).items():
            key: Key = ("policy", name)
            if not isinstance(table, dict):
                raise self.source.error(
                    key, "config.type", f"policy.{name} must be a table", hint=f"write [policy.{name}]"
                )
            if "name" in table:
                raise self._unknown((*key, "name"), _fields(Policy))
            policy = self._convert(key, {**table, "name": name}, Policy)
            for problem in problems(policy):
                spot = (*key, *_parts(problem.key))
                raise self.source.error(spot, problem.code, problem.message, hint=problem.hint)
            self._recipients(key, policy, edge)
            found[name] = policy
        for policy, problem in overlaps(found):
            raise self.source.error(
                ("policy", policy.name, *_parts(problem.key)), problem.code, problem.message, hint=problem.hint
            )
        return found

    def _recipients(self, key: Key, policy: Policy, edge: EdgeSection) -> None:
        if policy.mode == "never":
            return
        if wrong := check_recipients(policy.recipients):
            raise self.source.error((*key, "recipients", wrong.number), wrong.code, wrong.message, hint=wrong.hint)
        if not policy.recipients:
            hint = 'recipients = ["age1…operator", "age1…recovery"]'
            raise self.source.error(
                (*key, "recipients"), "recipient.none", f'policy "{policy.name}" has no recipients', hint=hint
            )
        if len(policy.recipients) < 2 and "no-recovery-recipient" not in edge.waive:
            hint = 'add a recovery key that is kept elsewhere, or waive = ["no-recovery-recipient"] in [edge]'
            message = f'policy "{policy.name}" has one recipient and no recovery key'
            raise self.source.error((*key, "recipients"), "recipient.no_recovery", message, hint=hint)

    def _check_sections(self, edge: EdgeSection, asterisk: AsteriskSection, central: CentralSection) -> None:
        if not _EDGE_ID.fullmatch(edge.id):
            raise self.source.error(
                ("edge", "id"), "config.value", f"{edge.id!r} cannot name an edge", hint='1 to 63 of a-z, 0-9 and "-"'
            )
        for number, name in enumerate(edge.waive):
            if name not in WAIVABLE:
                near = difflib.get_close_matches(name, WAIVABLE, 1)
                hint = f'did you mean "{near[0]}"?' if near else f"checks that can be waived: {', '.join(WAIVABLE)}"
                raise self.source.error(
                    ("edge", "waive", number), "config.value", f'there is no check "{name}" to waive', hint=hint
                )
        for name, value, low, high in (
            ("guard_deadline", asterisk.guard_deadline, 0.5, 10),
            ("dead_man", asterisk.dead_man, 10, 600),
        ):
            if not low <= value <= high:
                raise self.source.error(
                    ("asterisk", name),
                    "config.value",
                    f"{name} of {value:g} s is out of range",
                    hint=f"{low:g} s to {high:g} s",
                )
        if central.url or (central.enabled and "central" in self.tree):
            self._check_url(central.url)

    def _check_url(self, url: str) -> None:
        key = ("central", "url")
        try:
            parts = urlsplit(url)
            host, secret, _ = parts.hostname or "", parts.username or parts.password, parts.port
        except ValueError:
            parts, host, secret = urlsplit(""), "", None
        if parts.scheme not in ("https", "http") or not host:  # not repeated: it may hold a password
            hint = 'url = "https://central.example"'
            raise self.source.error(key, "config.value", "central.url is not an address", hint=hint)
        if secret:
            hint = "enrolment gives this edge its key"
            raise self.source.error(key, "config.secret_in_toml", "the address holds a password", hint=hint)
        if parts.scheme == "http" and not is_loopback(host):
            hint = "use https, with ca_file for a CA of your own"
            raise self.source.error(key, "config.value", "plain http leaves this machine", hint=hint)

    # -- conversion and errors

    def _convert(self, key: Key, table: dict[str, Any], kind: type[T]) -> T:
        self._refuse_unknown(key, table, kind)

        plain = {name: self._absolute((*key, name), value, kind) for name, value in table.items()}
        try:
            return msgspec.convert(plain, kind, dec_hook=_read)
        except msgspec.ValidationError as e:
            message, _, inner = str(e).partition(" - at `$")
            spot = (*key, *_parts(inner.rstrip("`").strip(".").replace("[", ".").replace("]", "")))
            if missing := re.search(r"missing required field `(\w+)`", message):
                message = f"{dotted((*spot, missing[1]))} is missing"
                raise self.source.error(spot, "config.missing_key", message, hint=f"add {missing[1]} = …") from e
            hint = example(kind, spot[len(key) :])
            raise self.source.error(spot, "config.value", f"{dotted(spot)}: {plain_words(message)}", hint=hint) from e

    def _absolute(self, key: Key, value: Any, kind: type[msgspec.Struct]) -> Any:
        """A path's text made absolute against the folder of the file that wrote it."""
        hints = {field.name: field.type for field in msgspec.structs.fields(kind)}
        if hints.get(str(key[-1])) in (Path, Path | None) and isinstance(value, str):
            if not value:
                raise self.source.error(
                    key, "config.value", f"{dotted(key)} is empty", hint="name a path, or leave the key out"
                )
            return Path(self.source.base.get(key, self.path.parent) / value)
        return value

    def _refuse_unknown(self, key: Key, table: Mapping[str, Any], kind: type[msgspec.Struct]) -> None:
        known = {field.name: field.type for field in msgspec.structs.fields(kind)}
        for name, value in table.items():
            if name not in known:
                raise self._unknown((*key, name), list(known))
            inner = known[name]
            if isinstance(inner, type) and issubclass(inner, msgspec.Struct) and isinstance(value, dict):
                self._refuse_unknown((*key, name), value, inner)

    def _unknown(self, key: Key, known: list[str]) -> CallwardenError:
        near = difflib.get_close_matches(str(key[-1]), [k for k in known if k != key[-1]], 1)
        hint = (
            f'did you mean "{near[0]}"?'
            if near
            else f"known here: {', '.join(sorted(k for k in known if k != key[-1]))}"
        )
        return self.source.error(key, "config.unknown_key", f"there is no setting {dotted(key)}", hint=hint)


def _read(wanted: type, value: object) -> object:
    """msgspec's door for our own types; a ValueError's sentence becomes the error's."""
    if wanted in (Seconds, Period, Day, Choices, Address):
        return wanted.parse(value)
    if not isinstance(value, Path):
        raise ValueError(f"expected a path in quotes, not {value!r}")  # noqa: TRY004 - one kind of error for all
    return value


def _fields(kind: type[msgspec.Struct]) -> list[str]:
    return [field.name for field in msgspec.structs.fields(kind)]


def _parts(dotted: str) -> Key:
    return tuple(int(p) if p.isdecimal() else p for p in dotted.split(".") if p)
