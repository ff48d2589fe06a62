"""The shipped packs: six languages, every mode, the same words of the field in each, short enough to be listened to."""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from edge.config import AsteriskSection, CentralSection, EdgeConfig, EdgeSection
from edge.consent.policy import Choices, Policy, Question
from edge.consent.units import Period
from edge.prompts.catalogue import Catalogue
from edge.prompts.check import check_audio, check_policies, check_scripts
from edge.prompts.manifest import parse_manifest
from edge.prompts.script import parse_script, render_script

SHIPPED = Path(__file__).parents[3] / "prompts"
LANGUAGES = ("en", "cs", "sk", "de", "fr", "es")
#: The key that each language's sentence in the choice of a language names.
OFFERED = Choices({"1": "en", "2": "cs", "3": "sk", "4": "de", "5": "fr", "6": "es"})
#: Longest question before people put the phone down, milliseconds; and before a key counts.
QUESTION_MS = 9_000
MODES: list[dict[str, Any]] = [
    {"mode": "opt_in", "remember": Period("P30D"), "on_failure": "refuse_call"},
    {"mode": "opt_in", "language_choice": OFFERED},
    {"mode": "opt_in", "further": (Question(purposes=("training",), prompt="ask_training"),)},
    {"mode": "opt_out", "basis": "legitimate_interests", "on_failure": "announce"},
    {"mode": "notice", "basis": "contract"},
    {"mode": "prior", "remember": Period("P30D")},
    {"mode": "obligation", "basis": "legal_obligation", "on_failure_midcall": "announce"},
    {"mode": "manual"},
    {"mode": "never"},
]


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Catalogue:
    return Catalogue.load(SHIPPED, tmp_path_factory.mktemp("shipped") / "cache")


def config(policy: Policy) -> EdgeConfig:
    return EdgeConfig(
        path=Path("/etc/edge.toml"),
        edge=EdgeSection(id="e"),
        asterisk=AsteriskSection(),
        central=CentralSection(enabled=False),
        policies=MappingProxyType({policy.name: policy}),
        places=MappingProxyType({}),
    )


def test_all_six_are_there(catalogue: Catalogue) -> None:
    assert set(catalogue.languages) == set(LANGUAGES)


@pytest.mark.parametrize("keys", MODES, ids=lambda keys: "-".join([keys["mode"], *sorted(set(keys) - {"mode"})]))
def test_every_mode_speaks_every_language(catalogue: Catalogue, keys: dict[str, Any]) -> None:
    policy = Policy(name="p", purposes=("quality", "evidence"), languages=LANGUAGES, **keys)
    assert check_policies(config(policy), catalogue) == []


def test_what_is_heard_is_what_the_scripts_say(catalogue: Catalogue) -> None:
    assert check_scripts(catalogue) == []
    assert [f for f in check_audio(catalogue) if f.code != "prompt.unreadable"] == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_same_prompts_with_the_same_meaning(language: str) -> None:
    ours, english = (
        parse_script((SHIPPED / lang / "script.toml").read_text("utf-8"), SHIPPED / lang / "script.toml")
        for lang in (language, "en")
    )
    key = next(k for k, named in OFFERED.items() if named == language)
    for spoken, model in zip(ours.prompt, english.prompt, strict=True):
        says = (f"key:{key}",) if spoken.id == "language" else model.says
        assert (spoken.id, spoken.says, len(spoken.parts), spoken.answerable_after) == (
            model.id, says, len(model.parts), model.answerable_after,
        )  # fmt: skip
    assert ours.language == language
    assert parse_script(render_script(ours), Path("again.toml")) == ours


@pytest.mark.parametrize("language", LANGUAGES)
def test_lengths_and_marks(language: str) -> None:
    file = SHIPPED / language / "manifest.toml"
    by_id = {entry.id: entry for entry in parse_manifest(file.read_text("utf-8"), file).prompt}
    assert by_id["ask"].duration_ms < QUESTION_MS
    assert by_id["ask_short"].duration_ms < by_id["ask"].duration_ms
    for entry in by_id.values():
        assert entry.duration_ms < 11_000, entry.id
        assert entry.rms_db == pytest.approx(-19, abs=0.5)
        assert entry.peak_db is not None
        assert entry.peak_db <= -1.5
        asks = {"withdrawal"} <= set(entry.says)
        assert (entry.answerable_from_ms > 0) == asks, f"{entry.id}: a key counts once withdrawal has been said"
        # the key is named after the mark, so a person who waits to be told it never presses too early
        assert not asks or entry.answerable_from_ms < entry.duration_ms - 1000
    assert 300 <= by_id["tone"].duration_ms <= 500
