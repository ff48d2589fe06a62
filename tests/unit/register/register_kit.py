"""A realistic set of policies, read by the edge's own loader, with the prompts that are shipped."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path
from typing import Any

from edge.config import EdgeConfig, load
from edge.errors import CallwardenError
from edge.prompts.manifest import PromptEntry, parse_manifest
from edge.prompts.report import reports
from formats.age import X25519Identity
from formats.register import Answers, InForce, PolicyReport, parse_answers, parse_report

ROOT = Path(__file__).parents[3]
KEYS = [str(X25519Identity.generate(bytes([n]) * 32).recipient()) for n in (1, 2)]
SINCE = "2026-10-01T08:00:00.000Z"
CONFIG = f"""\
[edge]
id = "pbx-brno"
waive = ["cow-filesystem"]
[keys]
names = {{ "{KEYS[0]}" = "operator 2026", "{KEYS[1]}" = "recovery, notary's safe" }}
recovery = ["{KEYS[1]}"]
[retention]
ceiling = {{ recordings = "P12M" }}
[central]
url = "https://central.example"
[notices]
url = "https://sms.example/hook"
secret_file = "/etc/callwarden/sms.secret"
countries = ["CZ"]
[policy.support]
mode = "opt_in"
jurisdiction = "CZ"
basis = "consent"
basis_reference = "privacy notice 3.1"
purposes = ["quality", "evidence"]
languages = ["en", "cs"]
match = {{ did = ["+420555100200"], queue = ["support"] }}
remember = "P30D"
on_failure = "announce"
recipients = ["{KEYS[0]}", "{KEYS[1]}"]
retention = {{ recordings = "P6M", purposes = {{ training = {{ maximum = "P30D" }} }} }}
[[policy.support.further]]
purposes = ["training"]
prompt = "ask_training"
[policy.orders]
mode = "opt_out"
jurisdiction = "DE"
basis = "legitimate_interests"
basis_reference = "balancing test of 2026-03-01"
purposes = ["quality", "evidence"]
languages = ["de"]
text_notice = "end"
match = {{ context = ["orders"] }}
override = {{ who = "the director", why = "DPIA 7 of 2026-03-01", until = "2027-03-31" }}
recipients = ["{KEYS[0]}", "{KEYS[1]}"]
[policy.doctors]
mode = "never"
match = {{ queue = ["doctors"] }}
"""
REGISTER = """\
authority = "Úřad pro ochranu osobních údajů, Pplk. Sochora 27, Praha 7"
automated = "No decision is made by automated means."
organisational = ["listening needs a case number", "training once a year"]
no_transfers = true

[controller]
name = "Example, s.r.o."
address = "Dlouhá 1, Brno"
contact = "privacy@example.test"

[dpo]
name = "D. P. Officer"
contact = "dpo@example.test"

[[recipient]]
name = "Mystery Shoppers, a.s."
gets = "exports for quality reviews"
country = "CZ"
contract = "processor contract of 2026-01-10"
policies = ["support"]

[policy.support]
review_by = 2027-03-31
reviewed_on = 2026-03-31
reviewer = "D. P. Officer"
necessity = "complaints cannot be settled from notes"
obligation = "you need not agree; the call goes on without a recording"

[[policy.support.risk]]
risk = "a recording is heard by somebody without a reason"
likelihood = "low"
severity = "high"
measures = "keys of two people, log of readings"
residual = "low"

[policy.orders.balancing]
interest = "proof of what was ordered by telephone"
necessity = "written confirmation was tried and was not read"
by = "D. P. Officer"
on = 2026-03-01

[policy.retired]
review_by = 2026-01-01
"""


@cache
def shipped(language: str) -> dict[str, PromptEntry]:
    file = ROOT / "prompts" / language / "manifest.toml"
    return {entry.id: entry for entry in parse_manifest(file.read_text("utf-8"), file).prompt}


def resolve(prompt_id: str, language: str) -> PromptEntry:
    if prompt_id not in shipped(language):
        raise CallwardenError("prompt.unknown", "no such prompt")
    return shipped(language)[prompt_id]


def config(folder: Path, text: str = CONFIG) -> EdgeConfig:
    (folder / "edge.toml").write_text(text)
    return load(folder / "edge.toml")


def data(folder: Path, text: str = CONFIG) -> dict[str, dict[str, Any]]:
    """Policy name to the data of its event."""
    return {name: {**one, "at": SINCE} for name, one in reports(config(folder, text), resolve).items()}


def parsed(folder: Path, text: str = CONFIG) -> list[PolicyReport]:
    return [parse_report(one) for one in data(folder, text).values()]


def in_force(folder: Path, text: str = CONFIG, *, edges: tuple[str, ...] = ("pbx-brno", "pbx-praha")) -> list[InForce]:
    return [InForce(edge, SINCE, report) for report in parsed(folder, text) for edge in edges]


def answers() -> Answers:
    return parse_answers(tomllib.loads(REGISTER))
