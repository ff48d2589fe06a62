"""The commands of docs/api.md are run as they stand there, in their order, against a central with TLS; the answers shown
below them are what came back, with `…` for what differs each time."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.unit.central.central_kit import a_central

PAGE = Path(__file__).parents[3] / "docs" / "api.md"
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_MARK = "@@@"


def blocks() -> list[tuple[str, str]]:
    """(commands, what the page shows of their answer, or "")."""
    found: list[tuple[str, str]] = []
    for kind, text in _BLOCK.findall(PAGE.read_text("utf-8")):
        if kind == "sh":
            found.append((text, ""))
        else:
            assert kind in ("json", "text")
            assert found
            assert not found[-1][1], "an answer without its commands"
            found[-1] = (found[-1][0], text)
    return found


def shows(shown: Any, came: Any) -> bool:
    """Whether an answer is what the page shows of it."""
    if shown == "…":
        return True
    if isinstance(shown, dict):
        return isinstance(came, dict) and shown.keys() == came.keys() and all(shows(shown[n], came[n]) for n in shown)
    if isinstance(shown, list):
        return isinstance(came, list) and (not came) == (not shown) and all(shows(shown[0], one) for one in came)
    return bool(shown == came)


def lines(text: str) -> list[Any]:
    return [json.loads(one) if one.startswith("{") else one for one in text.splitlines() if one]


@pytest.mark.skipif(
    shutil.which("curl") is None or shutil.which("openssl") is None,
    reason="needs curl and openssl (apt-get install curl openssl)",
)
async def test_the_commands_of_the_page_do_what_it_shows(tmp_path: Path, engine: str) -> None:
    listed = blocks()
    assert len(listed) > 8
    script = "set -euo pipefail\n" + "".join(f"{text}\nprintf '\\n{_MARK}\\n'\n" for text, _ in listed)
    async with a_central(tmp_path / "central", tls=True, postgres=engine) as central:
        process = await asyncio.create_subprocess_exec(
            "bash", "-c", script, cwd=tmp_path, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            env={
                "PATH": os.environ["PATH"], "CENTRAL_URL": central.url, "CENTRAL_CA": str(central.config.ca),
                "CENTRAL_TOKEN": central.token, "LC_ALL": "C.UTF-8", "no_proxy": "*",
            },
        )  # fmt: skip
        out, err = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, err.decode()
    came = out.decode().split(_MARK)[:-1]
    assert len(came) == len(listed)
    for (commands, shown), answer in zip(listed, came, strict=True):
        if shown:
            wanted, got = lines(shown), lines(answer)
            assert len(wanted) == len(got), f"{commands}\n{answer}"
            assert all(shows(a, b) for a, b in zip(wanted, got, strict=True)), (
                f"{commands}\nshown: {shown}\ncame: {answer}"
            )
