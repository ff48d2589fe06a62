"""Tables as an Excel workbook: the smallest Office Open XML (ECMA-376, transitional) that says of every text that it is one.

Our own writer, because what a cell is must not be guessed from what is in it: a text is an inline string in a cell formatted as text
("@"), a number is a number, and there is no way to write a formula, a link, a name or a macro. No file holds a date of its
making, so the same rows give the same bytes.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from typing import Final
from xml.sax.saxutils import escape, quoteattr

from callwarden.accesspackage.cells import visible
from callwarden.accesspackage.csvtable import Cell
from edge.errors import CallwardenError

#: Rows and columns of a sheet (ECMA-376 programs' own limits).
MAX_ROWS: Final = 1_048_576
_MAIN: Final = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_OFFICE: Final = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE: Final = "http://schemas.openxmlformats.org/package/2006"
_TYPE: Final = "application/vnd.openxmlformats-officedocument.spreadsheetml"
_HEAD: Final = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
#: In a text `_x0041_` means "A" (ECMA-376, 22.9.2.19): an underscore that would begin such a thing is spelled out.
_SPELLED: Final = re.compile(r"_(?=x[0-9A-Fa-f]{4}_)")
_TEXT, _HEADING = 1, 2
_EPOCH: Final = (1980, 1, 1, 0, 0, 0)


def encode(sheets: Mapping[str, tuple[Sequence[str], Iterable[Sequence[Cell]]]]) -> bytes:
    """The workbook; sheets: name to headings and rows. Raises CallwardenError usage.table for more rows than a sheet has."""
    made = io.BytesIO()
    names = list(sheets)
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as file:
        _put(file, "[Content_Types].xml", _content_types(len(names)))
        _put(file, "_rels/.rels", _relations([("officeDocument", "xl/workbook.xml")]))
        _put(file, "xl/workbook.xml", _workbook(names))
        listed = [("worksheet", f"worksheets/sheet{n}.xml") for n in range(1, len(names) + 1)]
        _put(file, "xl/_rels/workbook.xml.rels", _relations([*listed, ("styles", "styles.xml")]))
        _put(file, "xl/styles.xml", _styles())
        for number, (headings, rows) in enumerate(sheets.values(), 1):
            _put(file, f"xl/worksheets/sheet{number}.xml", _sheet(headings, rows))
    return made.getvalue()


def _put(file: zipfile.ZipFile, name: str, text: str) -> None:
    info = zipfile.ZipInfo(name, _EPOCH)
    info.compress_type = zipfile.ZIP_DEFLATED
    file.writestr(info, (_HEAD + text).encode("utf-8"))


def _content_types(sheets: int) -> str:
    parts = [("/xl/workbook.xml", f"{_TYPE}.sheet.main+xml"), ("/xl/styles.xml", f"{_TYPE}.styles+xml")]
    parts += [(f"/xl/worksheets/sheet{n}.xml", f"{_TYPE}.worksheet+xml") for n in range(1, sheets + 1)]
    overrides = "".join(f'<Override PartName="{name}" ContentType="{kind}"/>' for name, kind in parts)
    defaults = (
        '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        '<Default Extension="xml" ContentType="application/xml"/>'
    )
    return f'<Types xmlns="{_PACKAGE}/content-types">{defaults}{overrides}</Types>'


def _relations(targets: Sequence[tuple[str, str]]) -> str:
    lines = "".join(
        f'<Relationship Id="rId{n}" Type="{_OFFICE}/{kind}" Target="{target}"/>'
        for n, (kind, target) in enumerate(targets, 1)
    )
    return f'<Relationships xmlns="{_PACKAGE}/relationships">{lines}</Relationships>'


def _workbook(names: Sequence[str]) -> str:
    sheets = "".join(f'<sheet name={quoteattr(name)} sheetId="{n}" r:id="rId{n}"/>' for n, name in enumerate(names, 1))
    return f'<workbook xmlns="{_MAIN}" xmlns:r="{_OFFICE}"><sheets>{sheets}</sheets></workbook>'


def _styles() -> str:
    """0: general; 1: text (built-in format 49, "@"); 2: the same in bold."""
    return (
        f'<styleSheet xmlns="{_MAIN}">'
        '<fonts count="2"><font><sz val="11"/><name val="Calibri"/></font>'
        '<font><b/><sz val="11"/><name val="Calibri"/></font></fonts>'
        '<fills count="2"><fill><patternFill patternType="none"/></fill>'
        '<fill><patternFill patternType="gray125"/></fill></fills>'
        '<borders count="1"><border><left/><right/><top/><bottom/><diagonal/></border></borders>'
        '<cellStyleXfs count="1"><xf numFmtId="0" fontId="0" fillId="0" borderId="0"/></cellStyleXfs>'
        '<cellXfs count="3"><xf numFmtId="0" fontId="0" fillId="0" borderId="0" xfId="0"/>'
        '<xf numFmtId="49" fontId="0" fillId="0" borderId="0" xfId="0" applyNumberFormat="1" quotePrefix="1"/>'
        '<xf numFmtId="49" fontId="1" fillId="0" borderId="0" xfId="0" applyNumberFormat="1" applyFont="1"/></cellXfs>'
        '<cellStyles count="1"><cellStyle name="Normal" xfId="0" builtinId="0"/></cellStyles></styleSheet>'
    )


def _sheet(headings: Sequence[str], rows: Iterable[Sequence[Cell]]) -> str:
    lines = [_row(1, headings, _HEADING)]
    for number, row in enumerate(rows, 2):
        if number > MAX_ROWS:
            raise CallwardenError("usage.table", "more rows than a sheet holds", hint="the CSV file has no such limit")
        lines.append(_row(number, row, _TEXT))
    columns = f'<cols><col min="1" max="{len(headings)}" width="24" style="{_TEXT}" customWidth="1"/></cols>'
    return f'<worksheet xmlns="{_MAIN}">{columns}<sheetData>{"".join(lines)}</sheetData></worksheet>'


def _row(number: int, cells: Sequence[Cell], style: int) -> str:
    made = "".join(_cell(f"{_column(n)}{number}", value, style) for n, value in enumerate(cells))
    return f'<row r="{number}">{made}</row>'


def _cell(at: str, value: Cell, style: int) -> str:
    if value is None or value == "":
        return ""
    if isinstance(value, int | float):
        return f'<c r="{at}"><v>{value!r}</v></c>'
    text = escape(_SPELLED.sub("_x005F_", visible(value)))
    return f'<c r="{at}" s="{style}" t="inlineStr"><is><t xml:space="preserve">{text}</t></is></c>'


def _column(number: int) -> str:
    """0 is A, 26 is AA."""
    name = ""
    number += 1
    while number:
        number, letter = divmod(number - 1, 26)
        name = chr(ord("A") + letter) + name
    return name
