"""What a policy in effect means, phrase by phrase: the facts that several documents state. Pure.

Reads the policy's own document with `get`, since edges of other versions report other settings; what is not in it is not
stated.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from formats.register.answers import Answers
from formats.register.report import Entry
from formats.register.words import Words

#: Classes of data that a policy keeps, in the order of the list.
CLASSES: Final = ("recordings", "metadata", "statistics", "evidence", "refusals", "notices")


@dataclass(frozen=True, slots=True)
class Place:
    """Somebody whom the configuration names. kind: "media", "webhook", "mail" or "export"; gets: what, in words; policy: only
    under this one, "" for all."""

    kind: str
    name: str
    gets: str
    policy: str = ""


@dataclass(frozen=True, slots=True)
class Setting:
    """Where the policies run. level: what is separated (docs/spec/certificate.md), None where nobody can say; places: who
    else gets data, as configured."""

    level: int | None = None
    places: tuple[Place, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class Phrases:
    """Phrases about one entry, in one language."""

    entry: Entry
    answers: Answers
    setting: Setting
    w: Words

    @property
    def document(self) -> Mapping[str, Any]:
        """The policy."""
        return self.entry.report.document

    def get(self, *path: str, default: Any = "") -> Any:
        """A setting, or `default`."""
        value: Any = self.document
        for name in path:
            if not isinstance(value, Mapping) or name not in value:
                return default
            value = value[name]
        return value

    @property
    def records(self) -> bool:
        """Whether anything is ever recorded."""
        return bool(self.get("mode") != "never")

    def purposes(self) -> list[str]:
        """Every purpose, with those that are asked for by a further question."""
        named = [*self.get("purposes", default=[])]
        for question in self.get("further", default=[]):
            named += question.get("purposes", [])
        return [self.purpose(one) for one in dict.fromkeys(map(str, named))]

    def purpose(self, name: str) -> str:
        """As the file calls it, else as we do, else its bare word."""
        said = self.answers.purposes.get(name, {}).get(self.w.lang)
        return said or (self.w(f"purpose.{name}") if self.w.has(f"purpose.{name}") else name)

    def basis(self) -> list[str]:
        """The legal basis, and where it is written down."""
        basis = str(self.get("basis")) if self.records else ""
        named = self.w(f"basis.{basis}") if self.w.has(f"basis.{basis}") else basis
        reference = self.get("basis_reference")
        return [named, *([f"{self.w('reference')}: {reference}"] if reference else [])]

    def asked(self) -> str:
        """How people are asked or told."""
        mode = str(self.get("mode"))
        key = f"mode.{mode}"
        return self.w(key, yes=self.get("yes_key"), no=self.get("objection_key")) if self.w.has(key) else mode

    def subjects(self) -> list[str]:
        """Categories of people."""
        return [self.w("subject.party"), self.w("subject.agent"), *self.answers.of(self.entry.report.policy).subjects]

    def data(self) -> list[str]:
        """Categories of data."""
        w = self.w
        text = [w("data.text")] if self.get("text_notice") else []
        further = self.answers.of(self.entry.report.policy).data
        if not self.records:
            return [w("data.none"), w("data.call")]
        return [w("data.audio"), w("data.call"), w("data.answer"), *text, *further]

    def recipients(self) -> list[str]:
        """Whoever gets something: holders of keys, central, gateways, what is configured, what the file adds."""
        w, house = self.w, self.entry.report.house
        told: list[str] = []
        for key in self.keys() if self.records else ():
            kind = "recipient.recovery" if key in house.recovery else "recipient.key"
            told.append(w(kind, key=short(key), name=house.keys.get(key) or w("recipient.unnamed")))
        if self.records and house.local:
            told.append(w("recipient.local"))
        if house.central and self.get("central"):
            told.append(
                w("recipient.central", audio=self._word("audio", "media"), number=self._word("number", "number"))
            )
        if house.gateway:
            told.append(w("recipient.gateway", host=house.gateway))
        told += [
            w("recipient.place", kind=w(f"kind.{place.kind}"), name=place.name, gets=place.gets)
            for place in self.setting.places
            if place.policy in ("", self.entry.report.policy)
        ]
        for one in self.answers.recipient:
            if not one.policies or self.entry.report.policy in one.policies:
                told.append(", ".join(part for part in (one.name, one.gets, one.country, one.contract) if part))
        return told

    def _word(self, kind: str, name: str) -> str:
        """What `[policy.NAME] central` says, in words where there are any."""
        value = str(self.get("central", name))
        return self.w(f"{kind}.{value}") if self.w.has(f"{kind}.{value}") else value

    def keys(self) -> list[str]:
        """Public keys that open a recording, each once, in every month."""
        named = [str(key) for key in self.get("recipients", default=[])]
        for keys in self.get("epoch_keys", default={}).values():
            named += str(keys).split()
        return list(dict.fromkeys(named))

    def transfers(self) -> list[str]:
        """To third countries, as somebody said."""
        if self.answers.no_transfers:
            return [self.w("none")]
        missing = self.w.fill("transfer.safeguard")
        told = [
            self.w("transfer", to=one.to, country=one.country, safeguard=one.safeguard or missing)
            for one in self.answers.transfer
        ]
        return told or [self.w.fill("transfer, no_transfers")]

    def times(self) -> list[str]:
        """Time limits of every class of data, with what the house and the purposes add."""
        w, kept = self.w, self.get("retention", default={})
        classes = [name for name in CLASSES if name in kept and (name != "notices" or self.get("text_notice"))]
        if not self.records:
            classes = [name for name in classes if name in ("metadata", "statistics")]
        told = [w(f"time.{name}", period=w.period(str(kept[name]))) for name in classes]
        if not self.records:
            return told
        if str(kept.get("minimum", "P0D")) != "P0D":
            told.append(w("time.minimum", period=w.period(str(kept["minimum"]))))
        for table, key, named in (("purposes", "time.purpose", True), ("outcomes", "time.outcome", False)):
            for name, bound in sorted(kept.get(table, {}).items()):
                about = {"purpose": self.purpose(name)} if named else {"outcome": name}
                told.append(w(key, bound=self._bound(bound), **about))
        for side, limits in (("floor", self.entry.report.house.floor), ("ceiling", self.entry.report.house.ceiling)):
            told += [w(f"time.{side}", what=name, period=w.period(text)) for name, text in sorted(limits.items())]
        return told

    def _bound(self, bound: Mapping[str, Any]) -> str:
        least, most = str(bound.get("minimum", "P0D")), bound.get("maximum")
        told = [self.w("time.least", period=self.w.period(least))] if least != "P0D" else []
        return ", ".join([*told, *([self.w("time.most", period=self.w.period(str(most)))] if most else [])])

    def security(self) -> list[str]:
        """Technical measures in effect."""
        w, waived = self.w, self.entry.report.house.waived
        told = []
        if self.records:
            suite = str(self.get("suite"))
            told = [] if "unencrypted-swap" in waived else [w("sec.memory")]  # nobody made sure of it
            told.append(w(f"sec.{suite}") if w.has(f"sec.{suite}") else suite)
            told.append(w("sec.keys", count=len(self.keys())))
            told += [w("sec.monthly")] if self.get("epochs") == "monthly" else []
            told += [] if "cow-filesystem" in waived else [w("sec.erase")]  # an old block may outlive it
        told += [w("sec.log"), w("sec.orders")]
        told += [w("sec.waived", names=", ".join(waived))] if waived else []
        if self.setting.level is not None:
            told.append(w(f"sec.level.{self.setting.level}"))
        return told

    def safeguards(self) -> list[str]:
        """What protects those concerned."""
        w = self.w
        if not self.records:
            return [self.asked()]
        hold, wait = self.get("hold"), self.get("wait")
        told = [self.asked()]
        told += [w("fact.hold_record" if hold == "record" else "fact.hold_pause")] if hold else []
        told += [w("fact.wait_record" if wait == "record" else "fact.wait_skip")] if wait else []
        if remember := str(self.get("remember")):
            told.append(w("fact.no_memory") if remember == "P0D" else w("fact.remember", period=w.period(remember)))
        if stop := self.get("on_withdraw"):
            told.append(w("fact.withdraw_erase" if stop == "stop_and_erase" else "fact.withdraw"))
        failing = {
            "unrecorded": "fact.failure",
            "announce": "fact.failure_announce",
            "refuse_call": "fact.failure_refuse",
        }
        if key := failing.get(str(self.get("on_failure"))):
            told.append(w(key))
        return told

    def weaknesses(self) -> list[str]:
        """What of the policy and its edge weakens the protection: facts, not an assessment."""
        w, house = self.w, self.entry.report.house
        told = [w("weak.local")] if house.local and self.records else []
        if override := self.get("override", default=None):
            told.append(w("weak.override", country=self.get("jurisdiction") or "?", **{
                name: override.get(name, "") for name in ("who", "why", "until")
            }))  # fmt: skip
        told += [w("weak.level")] if self.setting.level == 0 else []
        told += [w("weak.waived", names=", ".join(house.waived))] if house.waived else []
        told += [w("weak.clear")] if house.central and self.get("central", "number") == "clear" else []
        told += [w("weak.recovery")] if self.records and not house.recovery else []
        return told or [w("none")]


def short(key: str) -> str:
    """A public key as people compare it: its beginning and its end."""
    return key if len(key) <= 24 else f"{key[:12]}…{key[-6:]}"
