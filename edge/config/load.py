"""Reading the configuration: TOML files in, one frozen `EdgeConfig` out, or an error that names file, line and fix."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

import msgspec

from edge.config import keysection, sections
from edge.config.adopting import AdoptSection, of_adopt
from edge.config.convert import convert, fields, parts, unknown
from edge.config.encoders import encoder
from edge.config.files import Key, Source, dotted, leaves
from edge.config.jurisdictions import SHIPPED, load_table
from edge.config.schema import (
    AgentSection,
    AsteriskSection,
    CentralSection,
    EdgeConfig,
    EdgeSection,
    ErasureSection,
    KeysSection,
    NoticesSection,
    TelephonySection,
)
from edge.consent import epochs, jurisdiction
from edge.consent.policy import Policy
from edge.consent.policy_rules import Problem, overlaps, problems
from edge.consent.retention import House
from edge.errors import CallwardenError
from edge.model.entities import NO_POLICY
from formats.credentials import is_secret

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
    "webhook_secret": "secret_file",
}
_SECTIONS: Mapping[str, type[msgspec.Struct]] = {
    "edge": EdgeSection,
    "asterisk": AsteriskSection,
    "central": CentralSection,
    "telephony": TelephonySection,
    "notices": NoticesSection,
    "retention": House,
    "erasure": ErasureSection,
    "keys": KeysSection,
}


def load(
    path: Path,
    today: date | None = None,
    *,
    instead: Mapping[Path, str] | None = None,
    ordered: Mapping[str, tuple[str, str | None]] | None = None,
) -> EdgeConfig:
    """Read `path` and conf.d/*.toml beside it (in order of name).

    `today`: the day against which overrides run out, UTC; the present one when it is not given. `instead`: texts in the
    place of what files hold, to judge a change before it is made. `ordered`: name of a policy to (where from, text of its
    table): that table wins over the files'; None as text: there is no such policy. Raises CallwardenError
    `config.*`, `policy.*` or `recipient.*` with `where` = "file:line". Touches nothing but these files and the table of
    jurisdictions; what else they name is looked at by `edge.config.check`.
    """
    path = path.absolute()
    files = [path, *sorted((path.parent / "conf.d").glob("*.toml"))]
    source = Source(path)
    for file in files:
        source.take(file, (instead or {}).get(file))
    for name, (label, text) in (ordered or {}).items():
        source.replace(("policy", name), Path(label), text)
    return _Reader(source, today or datetime.now(UTC).date()).finish()


def socket_of(path: Path) -> Path | None:
    """Where the daemon listens, from a configuration that may be wrong elsewhere: whoever edits a policy must still be
    able to reach the daemon. None when not even that can be read."""
    source = Source(path.absolute())
    try:
        source.take(path.absolute())
    except CallwardenError:
        return None
    edge = source.tree.get("edge")
    if not isinstance(edge, dict) or not isinstance(edge.get("socket", ""), str):
        return None
    named = edge.get("socket")
    return path.absolute().parent / named if named else Path(EdgeSection(id="").socket)


class _Reader:
    def __init__(self, source: Source, today: date) -> None:
        self.source = source
        self.today = today
        self.path = source.path
        self.tree = source.tree

    def finish(self) -> EdgeConfig:
        self._refuse_secrets()
        known = [*_SECTIONS, "agents", "adopt", "policy"]
        for name, table in self.tree.items():
            if name not in known:
                raise unknown(self.source, (name,), known)
            if not isinstance(table, dict):
                raise self.source.error((name,), "config.type", f"{name} must be a table", hint=f"write [{name}]")
        if "edge" not in self.tree:
            raise CallwardenError(
                "config.missing_key", "there is no [edge] table", hint='[edge] with id = "…"', where=str(self.path)
            )
        edge = self._section("edge", EdgeSection)
        asterisk = self._section("asterisk", AsteriskSection)
        central = self._section("central", CentralSection) if "central" in self.tree else CentralSection(enabled=False)
        telephony = self._section("telephony", TelephonySection)
        notices = self._section("notices", NoticesSection)
        retention = self._section("retention", House)
        erasure = self._section("erasure", ErasureSection)
        self._refuse(sections.of_edge(edge, asterisk))
        self._refuse(sections.of_erasure(erasure, edge))
        self._refuse(sections.of_central(central))
        if central.url or (central.enabled and "central" in self.tree):
            hint = "enrolment gives this edge its key"
            self._refuse(sections.of_url(("central", "url"), central.url, password_hint=hint))
        self._refuse(sections.of_telephony(telephony))
        agents = self._agents()
        self._refuse(sections.of_agents(agents))
        keys = self._section("keys", KeysSection)
        self._refuse(keysection.of_keys(keys))
        table = load_table(edge.jurisdictions or SHIPPED)
        policies = self._policies(edge, keys, table, telephony.country)
        self._refuse(sections.of_retention(retention, policies))
        self._refuse(sections.of_notices(notices, policies))
        adopt = {name: convert(self.source, key, table, AdoptSection) for name, key, table in self._tables("adopt")}
        private = (
            edge.vault,
            edge.state,
            edge.spool,
            edge.resume,
            edge.journal.parent,
            edge.prompt_cache,
            edge.prompts,
        )
        self._refuse(of_adopt(adopt, policies, private))
        return EdgeConfig(
            path=self.path,
            edge=edge,
            asterisk=asterisk,
            central=central,
            policies=MappingProxyType(policies),
            telephony=telephony,
            agents=MappingProxyType(agents),
            notices=notices,
            adopt=MappingProxyType(adopt),
            retention=retention,
            erasure=erasure,
            keys=keys,
            jurisdictions=table,
            places=MappingProxyType(dict(self.source.where)),
        )

    def _refuse(self, wrong: Iterable[sections.Wrong]) -> None:
        """Raise the first thing that is wrong."""
        for first in wrong:
            raise self.source.error(first.key, first.code, first.message, hint=first.hint)

    def _refuse_secrets(self) -> None:
        for key, value in leaves(self.tree):
            names = [part for part in key if isinstance(part, str)]
            texts = value if isinstance(value, list) else [value]
            for number, text in enumerate(texts):
                if isinstance(text, str) and is_secret(text):
                    spot: Key = (*key, number) if isinstance(value, list) else key
                    message = f"{dotted(key)} holds a private key or a secret"
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
        return convert(self.source, (name,), dict(self.tree.get(name, {})), kind)

    def _tables(self, name: str) -> Iterable[tuple[str, Key, dict[str, Any]]]:
        """(NAME, key, table) of each `[name.NAME]`."""
        for inner, table in self.tree.get(name, {}).items():
            key: Key = (name, inner)
            if not isinstance(table, dict):
                raise self.source.error(
                    key, "config.type", f"{dotted(key)} must be a table", hint=f"write [{dotted(key)}]"
                )
            yield inner, key, table

    def _agents(self) -> dict[str, AgentSection]:
        return {name: convert(self.source, key, table, AgentSection) for name, key, table in self._tables("agents")}

    def _policies(
        self, edge: EdgeSection, keys: KeysSection, table: jurisdiction.Table, country: str
    ) -> dict[str, Policy]:
        found: dict[str, Policy] = {}
        for name, key, written in self._tables("policy"):
            if "name" in written:
                raise unknown(self.source, (*key, "name"), fields(Policy))
            if name == NO_POLICY:
                told, hint = (
                    f'no policy may be named "{name}"',
                    "that is where calls are filed that came while no daemon was there",
                )
                raise self.source.error(key, "config.value", told, hint=hint)
            policy = convert(self.source, key, {**self._with_defaults(written), "name": name}, Policy)
            more = (*epochs.problems(policy, self.today), *encoder(policy))
            for problem in (*problems(policy), *jurisdiction.problems(policy, table, self.today), *more):
                raise self._problem(policy, problem)
            self._refuse(keysection.of_policy(policy, keys, edge.waive, self.today))
            found[name] = policy
        for policy, problem in overlaps(found, country):
            raise self._problem(policy, problem)
        return found

    def _with_defaults(self, written: dict[str, Any]) -> dict[str, Any]:
        """A policy's table, with the house's defaults under what it says about retention itself."""
        house, own = self.tree.get("retention", {}).get("defaults"), written.get("retention", {})
        if not isinstance(house, dict) or not isinstance(own, dict):
            return written  # the one is nothing to merge, the other an error that is said where it stands
        return {**written, "retention": {**house, **own}}

    def _problem(self, policy: Policy, problem: Problem) -> CallwardenError:
        key = ("policy", policy.name, *parts(problem.key))
        return self.source.error(key, problem.code, problem.message, hint=problem.hint)
