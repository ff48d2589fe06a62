"""docs/policies.md: its example loads, and it names what the code has."""

from __future__ import annotations

import re
from pathlib import Path

from edge.config import load
from edge.consent.policy import Override
from edge.model.lifecycle import MODES

PAGE = (Path(__file__).parents[3] / "docs" / "policies.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)


def test_the_example_loads(tmp_path: Path) -> None:
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "edge.toml").write_text('[edge]\nid = "e"\n[telephony]\ncountry = "DE"\n')
    (tmp_path / "conf.d" / "support.toml").write_text(BLOCKS[0])
    policy = load(tmp_path / "edge.toml").policies["support"]
    assert policy.every_purpose == ("quality", "evidence", "training")
    assert (policy.jurisdiction, policy.remember) == ("DE", "P30D")


def test_the_override_loads(tmp_path: Path) -> None:
    weak = BLOCKS[0].replace('"opt_in"', '"notice"').replace('basis = "consent"', 'basis = "contract"')
    weak = weak.replace("privacy notice 3.1", "assessment of 2026-03-01").replace(
        "remember =", BLOCKS[1] + "remember ="
    )
    (tmp_path / "edge.toml").write_text('[edge]\nid = "e"\n' + weak)
    override = load(tmp_path / "edge.toml").policies["support"].override
    assert isinstance(override, Override)


def test_every_mode_is_told() -> None:
    assert re.findall(r"^\| `(\w+)` \|", PAGE.partition("## Mode, basis")[0], re.MULTILINE) == list(MODES)
