"""The documents of the register from a realistic set of policies, held against golden files; and what must never happen.

Renew the golden files with: CALLWARDEN_WRITE_DOCS=1 python -m pytest tests/unit/register/test_register.py
"""

from __future__ import annotations

import csv
import io
import os
import re
import string
import tomllib
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import msgspec
import pytest

from edge.prompts.needs import needs
from formats.errors import FormatError
from formats.register import (
    FORMS,
    KINDS,
    LANGUAGES,
    Answers,
    Document,
    Place,
    Row,
    Section,
    Setting,
    build,
    changes,
    entries,
    parse_answers,
    parse_report,
)
from formats.register.answers import Balancing, OfPolicy, Party, Recipient, Risk, Transfer
from formats.register.words import WORDS, Words
from tests.unit.register.register_kit import CONFIG, ROOT, SINCE, answers, config, data, in_force, resolve

GOLDEN = Path(__file__).parent / "golden"
SETTING = Setting(
    2, (Place("export", "The Archive", "recordings", "orders"), Place("webhook", "hooks.example", "outcomes"))
)
MADE = [kind for kind in KINDS if kind != "changes"]


def made(folder: Path, kind: str, lang: str = "") -> Document:
    return build(kind, entries(in_force(folder)), answers(), SETTING, lang=lang)


@pytest.mark.parametrize(
    ("kind", "lang", "form"),
    [(kind, "en" if kind != "notices" else "", "text") for kind in MADE]
    + [("register", "cs", "text"), ("dpia", "de", "text"), ("recipients", "en", "csv"), ("notices", "cs", "html")],
)
def test_golden(tmp_path: Path, kind: str, lang: str, form: str) -> None:
    found = FORMS[form](made(tmp_path, kind, lang))
    file = GOLDEN / f"{kind}.{lang or 'all'}.{form}"
    if os.environ.get("CALLWARDEN_WRITE_DOCS") == "1":
        file.write_bytes(found.encode())
    assert found.encode() == file.read_bytes()


def test_the_same_facts_in_another_order_are_the_same_document(tmp_path: Path) -> None:
    running = in_force(tmp_path)
    for kind in MADE:
        one, other = (build(kind, entries(some), answers(), SETTING) for some in (running, running[::-1]))
        assert one == other


def rows(document: Document, policy: str) -> dict[str, tuple[str, ...]]:
    (section,) = [one for one in document.sections if one.key.startswith(f"{policy}@")]
    return {row.key: row.values for row in section.rows}


def test_two_versions_of_one_policy_are_two_entries_with_their_edges(tmp_path: Path) -> None:
    old = in_force(tmp_path, edges=("pbx-praha",))
    new = in_force(tmp_path, CONFIG.replace('remember = "P30D"', 'remember = "P60D"'), edges=("pbx-brno",))
    found = [one for one in entries([*old, *new]) if one.report.policy == "support"]
    assert [one.edges for one in sorted(found, key=lambda one: one.edges)] == [
        (("pbx-brno", SINCE),),
        (("pbx-praha", SINCE),),
    ]
    assert len({one.report.version for one in found}) == 2
    assert len([one for one in entries([*old, *new]) if one.report.policy == "orders"]) == 1


def test_every_word_a_call_can_hear_is_in_the_notices(tmp_path: Path) -> None:
    text = FORMS["text"](made(tmp_path, "notices"))
    for policy in config(tmp_path).policies.values():
        for need in needs(policy):
            prompt = resolve(need.prompt_id, need.language)
            assert prompt.text in text
            assert prompt.sha256 in text


def test_what_nobody_stated_is_said_to_be_missing_and_never_made_up(tmp_path: Path) -> None:
    running = entries(in_force(tmp_path))
    for lang in LANGUAGES:
        found = build("register", running, Answers(), Setting(), lang=lang)
        (general,) = [one for one in found.sections if one.key == "general"]
        values = {row.key: row.values for row in general.rows}
        w = Words(lang)
        assert values["controller"] == (w("fill", what="controller"),)
        assert values["dpo"] == (w("fill", what="dpo"),)
        assert rows(found, "support")["transfers"] == (w("fill", what="transfer, no_transfers"),)
    balancing = build("balancing", running, Answers(), Setting())
    values = rows(balancing, "orders")
    for key in ("interest", "necessity", "balance", "outcome"):
        assert values[key] == (f"to be filled in: policy.orders.balancing.{key}",)
    assert rows(build("dpia", running, Answers(), Setting()), "support")["risks"] == (
        "to be filled in: policy.support.risk",
    )
    assert list(rows(balancing, "support")) == ["version", "in_force", "review_by", "not_needed"]


def test_only_whoever_is_configured_is_a_recipient(tmp_path: Path) -> None:
    found = made(tmp_path, "recipients")
    support, orders = rows(found, "support")["recipients"], rows(found, "orders")["recipients"]
    assert any("Mystery Shoppers" in one for one in support)
    assert not any("Mystery Shoppers" in one for one in orders)
    assert any("sms.example" in one for one in orders)
    assert not any("sms.example" in one for one in support)
    assert any("The Archive" in one for one in orders)
    assert any("hooks.example" in one for one in support)
    assert not any("key" in one and "age1" in one for one in rows(found, "doctors")["recipients"])


@pytest.mark.parametrize(
    ("waived", "gone"),
    [("unencrypted-swap", "sec.memory"), ("cow-filesystem", "sec.erase"), ("no-recovery-recipient", "")],
)
def test_a_waived_check_is_named_and_what_it_checks_is_not_claimed(tmp_path: Path, waived: str, gone: str) -> None:
    text = CONFIG.replace('waive = ["cow-filesystem"]', f'waive = ["{waived}"]')
    for kind, key in (("register", "security"), ("dpia", "measures")):
        told = rows(build(kind, entries(in_force(tmp_path, text)), answers(), SETTING), "support")[key]
        w = Words("en")
        assert w("sec.waived", names=waived) in told
        assert [one for one in ("sec.memory", "sec.erase") if w(one) not in told] == ([gone] if gone else [])


def test_an_edge_without_a_central_has_none_among_its_recipients(tmp_path: Path) -> None:
    alone = CONFIG.replace('[central]\nurl = "https://central.example"\n', "")
    for text, there in ((CONFIG, True), (alone, False)):
        told = rows(build("recipients", entries(in_force(tmp_path, text)), answers(), SETTING), "support")["recipients"]
        assert any(one.startswith("central store") for one in told) is there


def test_a_policy_that_records_nothing_claims_no_audio(tmp_path: Path) -> None:
    values = rows(made(tmp_path, "register"), "doctors")
    assert values["data"][0] == "no audio"
    assert not any("encrypted" in one for one in values["security"])


# ---------------------------------------------------------------- changes


def test_changes_name_each_setting_the_words_and_what_came_and_went(tmp_path: Path) -> None:
    before = in_force(tmp_path, edges=("pbx-brno",))
    text = CONFIG.replace('remember = "P30D"', 'remember = "P60D"').replace("[policy.doctors]", "[policy.lawyers]")
    after = in_force(tmp_path, text, edges=("pbx-brno",))
    found = changes(before, after, SINCE, "")
    told = {one.key: {row.key: row.values for row in one.rows} for one in found.sections}
    assert told["support@pbx-brno"]["settings"] == ("remember: P30D → P60D",)
    assert list(told["doctors@pbx-brno"]) == ["change.gone"]
    assert list(told["lawyers@pbx-brno"]) == ["change.new"]
    assert "orders@pbx-brno" not in told
    other = [
        msgspec.structs.replace(one.report, prompts=one.report.prompts[1:]) for one in before if one.report.prompts
    ]
    spoken = changes(before, [type(before[0])("pbx-brno", SINCE, one) for one in other], SINCE, "", only="support")
    assert [row.key for row in spoken.sections[1].rows] == ["change.prompts"]
    (same,) = changes(before, before, SINCE, "").sections
    assert [row.key for row in same.rows] == ["since", "none"]


# ---------------------------------------------------------------- words


@pytest.mark.parametrize("lang", LANGUAGES)
def test_every_language_has_every_phrase_with_the_same_facts(lang: str) -> None:
    def facts(text: str) -> set[str | None]:
        return {name for _, name, _, _ in string.Formatter().parse(text) if name}

    assert WORDS[lang].keys() == WORDS["en"].keys()
    for key, text in WORDS["en"].items():
        assert facts(WORDS[lang][key]) == facts(text), key
        if key.startswith("unit."):
            assert WORDS[lang][key].count("|") == 2


@pytest.mark.parametrize(
    ("lang", "period", "words"),
    [
        ("en", "P1M", "1 month"), ("en", "P6M", "6 months"), ("en", "P1Y6M", "1 year 6 months"), ("en", "P0D", "0 days"),
        ("cs", "P3M", "3 měsíce"), ("cs", "P30D", "30 dnů"), ("sk", "P1Y", "1 rok"), ("de", "P2W", "2 Wochen"),
        ("fr", "P24M", "24 mois"), ("es", "P1D", "1 día"), ("en", "PT5S", "PT5S"), ("en", "", ""),
    ],
)  # fmt: skip
def test_periods_in_words(lang: str, period: str, words: str) -> None:
    assert Words(lang).period(period) == words


# ---------------------------------------------------------------- hostile names and reasons

HOSTILE = [
    "<script>alert(1)</script>", '" onmouseover="x', "=HYPERLINK(\"http://evil\")", "+1", "@SUM(A1)", "-2+3", "\t=1", "a\nb: c",
    "\x1b[31m", "{0.__class__}", "{key}", "\u202egnp", "＝1+1", "\x00", "\ud800", "]]>", "&lt;",
]  # fmt: skip


class Collector(HTMLParser):
    """The tags and the text of a page, as a browser sees them."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, text: str) -> None:
        self.text.append(text)


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_word_is_only_a_word_in_every_form(text: str) -> None:
    document = Document("register", "en", text, (Section(text, text, (Row("x", text, (text, text)),)),))
    page = FORMS["html"](document)
    page.encode("utf-8")
    seen = Collector()
    seen.feed(page)
    assert seen.tags <= {"html", "head", "meta", "title", "style", "body", "h1", "section", "h2", "dl", "dt", "dd"}
    assert seen.attributes <= {"lang", "charset"}
    for line in csv.reader(io.StringIO(FORMS["csv"](document))):
        assert len(line) == 5
        assert not any(one.lstrip(" ").startswith(("=", "+", "-", "@", "\t", "\r", "\n", "＝")) for one in line)
    plain = FORMS["text"](document)
    assert all(c.isprintable() or c == "\n" for c in plain)
    assert len(plain.splitlines()) == 7


def test_a_hostile_reason_of_an_override_stays_one(tmp_path: Path) -> None:
    found = data(tmp_path, CONFIG.replace('who = "the director"', 'who = "{lang} <b>=1"'))
    document = build("dpia", entries([type(in_force(tmp_path)[0])("e", SINCE, parse_report(found["orders"]))]),
                     Answers(), Setting())  # fmt: skip
    (weak,) = [v for v in rows(document, "orders")["weaknesses"] if "DPIA 7" in v]
    assert "{lang} <b>=1" in weak
    assert "<b>" not in FORMS["html"](document)


# ---------------------------------------------------------------- what comes in


def changed(report: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {**report, **more}


def test_a_report_whose_version_is_not_that_of_its_document_is_refused(tmp_path: Path) -> None:
    good = data(tmp_path)["support"]
    assert parse_report(good).policy == "support"
    document = {**good["document"], "mode": "notice"}
    for bad in (
        changed(good, document=document), changed(good, version="0" * 64), changed(good, policy=""), {},
        changed(good, policy="a\nb"), changed(good, prompts=[{"id": 1}]), changed(good, house={"floor": 3}),
    ):  # fmt: skip
        with pytest.raises(FormatError) as caught:
            parse_report(bad)
        assert caught.value.code == "event.policy"
    assert parse_report({"policy": "gone", "version": None, "at": SINCE}).version is None


def test_the_file_of_the_docs_is_one_and_has_every_member() -> None:
    text = (ROOT / "docs" / "register.md").read_text("utf-8")
    (block,) = re.findall(r"^```toml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    found = parse_answers(tomllib.loads(block))
    assert found.of("support").review_by is not None
    for kind in (Answers, OfPolicy, Balancing, Risk, Recipient, Transfer, Party):
        for field in kind.__struct_fields__:
            assert re.search(rf"\b{field}\b", text), f"docs/register.md does not show {field}"


@pytest.mark.parametrize(
    ("text", "code", "word"),
    [
        ("controler = 1", "register.answers", "controler"),
        ("[policy.x]\nreview_by = 3", "register.answers", "review_by"),
        ('[policy.x]\nreview_by = "soon"', "register.answers", "review_by"),
        ('[[policy.x.risk]]\nrisk = "r"\nlikelihood = "unlikely"', "register.answers", "likelihood"),
        ("[[recipient]]\nname = 'n'", "register.answers", "gets"),
        ("no_transfers = true\n[[transfer]]\nto='x'\ncountry='US'", "register.contradiction", "transfers"),
        ("[[on_behalf_of]]\nname='x'", "register.contradiction", "processor"),
    ],
)
def test_a_mistake_in_the_file_is_named(text: str, code: str, word: str) -> None:
    with pytest.raises(FormatError) as caught:
        parse_answers(tomllib.loads(text))
    assert caught.value.code == code
    assert word in caught.value.message
