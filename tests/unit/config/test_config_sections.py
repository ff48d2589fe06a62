"""Telephony, agents, notices, jurisdictions and what policies need of them: refused with file, line and fix."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from edge.config import check, load
from edge.errors import CallwardenError, Exit
from formats.age import X25519Identity

KEYS = [str(X25519Identity.generate(bytes([n]) * 32).recipient()) for n in (1, 2)]
GOOD = f"""\
[edge]
id = "e"
[telephony]
country = "DE"
emergency = ["116 111"]
prefixes = ["0"]
trunks = ["PJSIP/trunk", "SIP/out_1"]
never_numbers = ["+49 30 23125000", "1090"]
shared_numbers = ["+49 30 23125001"]
[agents.anna]
device = "PJSIP/agent1"
basis = "contract"
reference = "works agreement 2026-03"
until = 2027-06-30
[notices]
url = "https://sms.example/hook"
secret_file = "notices.secret"
countries = ["DE", "CZ"]
link = "https://www.example/privacy"
[policy.support]
mode = "notice"
jurisdiction = "CZ"
basis = "legitimate_interests"
basis_reference = "balancing test of 2026-03-02"
purposes = ["quality"]
text_notice = "end"
recipients = ["{KEYS[0]}", "{KEYS[1]}"]
language_did = {{ "+420555100200" = "en" }}
[[policy.support.further]]
purposes = ["training"]
prompt = "ask_training"
"""


def write(folder: Path, text: str = GOOD) -> Path:
    (folder / "edge.toml").write_text(text)
    return folder / "edge.toml"


def test_good_sections(tmp_path: Path) -> None:
    config = load(write(tmp_path))
    assert config.telephony.country == "DE"
    assert config.telephony.trunks == ("PJSIP/trunk", "SIP/out_1")
    assert (config.agents["anna"].device, config.agents["anna"].until) == ("PJSIP/agent1", "2027-06-30")
    assert config.notices.secret_file == tmp_path / "notices.secret"
    assert config.notices.per_hour == 60
    policy = config.policies["support"]
    assert policy.further[0].purposes == ("training",)
    assert dict(policy.language_did) == {"+420555100200": "en"}
    assert config.jurisdictions.rules["DE"].minimum == "opt_in"
    with pytest.raises(TypeError):
        config.agents["other"] = config.agents["anna"]  # type: ignore[index]


def test_defaults(tmp_path: Path) -> None:
    config = load(write(tmp_path, '[edge]\nid = "e"\n'))
    assert (config.telephony.country, config.telephony.prefixes, config.telephony.trunks) == ("CZ", ("9", "0"), ())
    assert (config.agents, config.notices.url) == ({}, "")


@pytest.mark.parametrize(
    ("old", "new", "line", "code", "words"),
    [
        ('country = "DE"', 'country = "Germany"', 4, "config.value", "two capital letters"),
        ('["116 111"]', '["help"]', 5, "config.value", "not a number"),
        ('prefixes = ["0"]', 'prefixes = ["0", "nine"]', 6, "config.value", "dialled before"),
        ('"SIP/out_1"', '"out_1"', 7, "config.value", "PJSIP/trunk"),
        ('"1090"', '"doctor"', 8, "config.value", "not a number"),
        ("trunks =", "trunk =", 7, "config.unknown_key", 'did you mean "trunks"'),
        ('device = "PJSIP/agent1"', 'device = "agent1"', 11, "config.value", "no endpoint"),
        ('basis = "contract"', 'basis = "goodwill"', 12, "config.value", "goodwill"),
        ('reference = "works agreement 2026-03"', 'reference = " "', 13, "config.value", "no reference"),
        ("until = 2027-06-30", 'until = "soon"', 14, "config.value", "expected a day"),
        ("until = 2027-06-30", "until = 2027-06-30T10:00:00Z", 14, "config.value", "day"),
        ("[agents.anna]", "[agents]\nbob = 1\n[agents.anna]", 11, "config.type", "[agents.bob]"),
        ("https://sms", "http://sms", 16, "config.value", "leaves this machine"),
        ("https://sms", "https://me:hunter2@sms", 16, "config.secret_in_toml", "password"),
        ('secret_file = "notices.secret"\n', "", 15, "config.missing_key", "secret_file"),
        ('["DE", "CZ"]', '["DE", "cz"]', 18, "config.value", "not a country"),
        ("link =", "per_hour = 0\nlink =", 19, "config.value", "1 to 10000"),
        ('url = "https://sms.example/hook"\n', "", 25, "policy.no_gateway", "[notices]"),
        ('jurisdiction = "CZ"', 'jurisdiction = "DE"', 21, "policy.too_weak", "opt_in"),
        ('jurisdiction = "CZ"\n', "", 21, "policy.too_weak", "jurisdiction"),
        ('jurisdiction = "CZ"', 'jurisdiction = "cz"', 22, "policy.jurisdiction", "two capital letters"),
        ('"balancing test of 2026-03-02"', '"balancing test"', 24, "policy.basis_reference", "dated assessment"),
        ('purposes = ["training"]', 'purposes = ["quality"]', 30, "policy.purpose_twice", "one key"),
        ('prompt = "ask_training"', 'promt = "ask_training"', 31, "config.unknown_key", 'did you mean "prompt"'),
        ('prompt = "ask_training"', "", 29, "config.missing_key", "prompt"),
        ('{ "+420555100200" = "en" }', '{ "+420555100200" = "xx" }', 28, "policy.bad_language", "languages"),
        ('{ "+420555100200" = "en" }', '{ "+420555100200" = 5 }', 28, "config.value", "table of text"),
    ],
)
def test_bad_sections_are_refused_where_they_stand(
    tmp_path: Path, old: str, new: str, line: int, code: str, words: str
) -> None:
    assert old in GOOD
    with pytest.raises(CallwardenError) as caught:
        load(write(tmp_path, GOOD.replace(old, new, 1)))
    error = caught.value
    assert (error.code, error.where) == (code, f"{tmp_path}/edge.toml:{line}")
    assert error.exit_code == Exit.CONFIG
    assert error.hint
    assert words in str(error)
    assert "hunter2" not in str(error)


def test_one_device_two_agents(tmp_path: Path) -> None:
    more = '[agents.bob]\ndevice = "pjsip/AGENT1"\nbasis = "contract"\nreference = "x"\n'
    with pytest.raises(CallwardenError, match="anna"):
        load(write(tmp_path, GOOD + more))


OVERRIDE = '[policy.support.override]\nwho = "the director"\nwhy = "DPIA 2026-10-01"\nuntil = 2026-12-31\n'


def test_override_until_its_last_day(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD.replace('jurisdiction = "CZ"', 'jurisdiction = "DE"') + OVERRIDE)
    assert load(path, date(2026, 12, 31)).policies["support"].override is not None
    with pytest.raises(CallwardenError) as caught:
        load(path, date(2027, 1, 1))
    assert (caught.value.code, caught.value.where) == ("policy.override_expired", f"{path}:35")
    assert "the director" in caught.value.message


def test_a_table_of_jurisdictions_of_ones_own(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD.replace('id = "e"', 'id = "e"\njurisdictions = "law.toml"'))
    with pytest.raises(CallwardenError) as caught:
        load(path)
    assert (caught.value.code, caught.value.where) == ("config.jurisdictions", f"{tmp_path}/law.toml")
    law = 'as_of = 2026-11-01\n[unknown]\nminimum = "opt_in"\nwhy = "x"\n'
    (tmp_path / "law.toml").write_text(law)
    with pytest.raises(CallwardenError) as caught:
        load(path)
    assert (caught.value.code, "does not list" in caught.value.message) == ("policy.too_weak", True)
    (tmp_path / "law.toml").write_text(law + '[CZ]\nminimum = "notice"\nwhy = "x"\n')
    assert load(path).jurisdictions.as_of == date(2026, 11, 1)


ERASURE = '[edge]\nid = "e"\n{waive}\n[erasure]\n{line}\n'


@pytest.mark.parametrize(
    "line",
    ['window = "23h"', 'window = "200h"', "daily_share = 101", "daily_share = -1", "daily_free = -1", 'late = "1h"'],
)
def test_bounds_of_erasing_many(tmp_path: Path, line: str) -> None:
    with pytest.raises(CallwardenError) as refused:
        load(write(tmp_path, ERASURE.format(waive="", line=line)))
    assert refused.value.exit_code is Exit.CONFIG
    assert "edge.toml:5" in refused.value.where


def test_a_short_window_is_waived_by_name_and_said_at_every_start(tmp_path: Path) -> None:
    short = load(write(tmp_path, ERASURE.format(waive='waive = ["erasure-window"]', line='window = "5s"')))
    assert short.erasure.window == 5
    (found,) = [one for one in check(short) if one.code == "config.erasure_window"]
    assert (found.severity, "waived" in found.message) == ("waived", True)
    assert load(write(tmp_path, ERASURE.format(waive="", line='window = "48h"'))).erasure.window == 48 * 3600
