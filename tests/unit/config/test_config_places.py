"""Every key of a TOML text is found on the line where a reader sees it."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from formats.tomlplaces import places

TEXT = '''\
# comment with [brackets] and "quotes"
top = 1
[a.b]           # header
"quoted key" = "x # not a comment"
dotted.name = [1, 2]
list = [
  "one",   # with ] and , inside a comment
  'two ]',
  """three
  lines""",

  { inner = 3, deep = { leaf = "}" } },
]
text = """
[not.a.table]
key = 1
"""
after = 2022-01-01T00:00:00Z
[[t]]
x = 1
[[t]]
x = 2
[t.sub]
y = 'lit\\'
'''


@pytest.mark.parametrize(
    ("key", "line"),
    [
        (("top",), 2),
        (("a", "b"), 3),
        (("a", "b", "quoted key"), 4),
        (("a", "b", "dotted"), 5),
        (("a", "b", "dotted", "name", 1), 5),
        (("a", "b", "list"), 6),
        (("a", "b", "list", 0), 7),
        (("a", "b", "list", 1), 8),
        (("a", "b", "list", 2), 9),
        (("a", "b", "list", 3, "inner"), 12),
        (("a", "b", "list", 3, "deep", "leaf"), 12),
        (("a", "b", "text"), 14),
        (("a", "b", "after"), 18),
        (("t", 0, "x"), 20),
        (("t", 1, "x"), 22),
        (("t", 1, "sub", "y"), 24),
    ],
)
def test_line_of(key: tuple[str | int, ...], line: int) -> None:
    assert places(TEXT)[key] == line


def test_text_inside_strings_is_not_structure() -> None:
    assert ("not", "a", "table") not in places(TEXT)


def paths(tree: Any, at: tuple[str | int, ...] = ()) -> set[tuple[str | int, ...]]:
    inner: Any = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    return {at}.union(*(paths(value, (*at, key)) for key, value in inner))


WORD = st.text(st.sampled_from("ab \"'#=[]{}.,\\\n\té\u2028"), max_size=6)


def quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
    return f'"{escaped}"'


VALUE = st.recursive(
    WORD.map(quoted) | st.integers(0, 9).map(str) | st.sampled_from(["'a#]'", '"""\n"#\\""""', "'''x]'''", "true"]),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda v: "[\n" + " , # ]\n".join(v) + "\n]")
        | st.dictionaries(WORD, inner, max_size=3).map(
            lambda d: "{" + ", ".join(f"{quoted(k)} = {v}" for k, v in d.items()) + "}"
        )
    ),
    max_leaves=8,
)


@given(st.dictionaries(WORD, VALUE, max_size=4))
def test_every_path_of_any_valid_text_is_found(tree: dict[str, str]) -> None:
    text = "\n# [x]\n".join(f"{quoted(key)}={value}" for key, value in tree.items())
    parsed = tomllib.loads(text)
    found = places(text)
    assert set(found) == paths(parsed) - {()}
    lines = text.split("\n")
    assert all(1 <= line <= len(lines) for line in found.values())
