"""Do prompts and policies fit, and how do the shipped prompts sound."""

from __future__ import annotations

import array
import math
from pathlib import Path
from types import MappingProxyType

import msgspec
import pytest

from edge.config import AsteriskSection, CentralSection, EdgeConfig, EdgeSection
from edge.consent.policy import Policy
from edge.prompts.audio import loudness, samples
from edge.prompts.catalogue import Catalogue
from edge.prompts.check import check_audio, check_policies

SHIPPED = Path(__file__).parents[3] / "prompts"
ASK = Policy(name="support", mode="opt_in", purposes=("quality", "evidence"), languages=("en", "cs"))


@pytest.fixture
def catalogue(tmp_path: Path) -> Catalogue:
    return Catalogue.load(SHIPPED, tmp_path / "cache")


def config(policy: Policy) -> EdgeConfig:
    key = ("policy", policy.name, "languages")
    return EdgeConfig(
        path=Path("/etc/edge.toml"),
        edge=EdgeSection(id="e"),
        asterisk=AsteriskSection(),
        central=CentralSection(enabled=False),
        policies=MappingProxyType({policy.name: policy}),
        places=MappingProxyType({(*key, 0): "c.toml:7", (*key, 1): "c.toml:8"}),
    )


def test_shipped_prompts_say_what_the_shipped_policy_needs(catalogue: Catalogue) -> None:
    assert check_policies(config(ASK), catalogue) == []


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        ({"languages": ("cs", "de")}, "prompt.no_language", '"de"'),
        ({"prompt": "sing", "languages": ("cs",)}, "prompt.unknown", '"sing"'),
        ({"purposes": ("quality", "training"), "languages": ("cs",)}, "prompt.says", "purpose:training"),
        ({"yes_key": "5", "languages": ("cs",)}, "prompt.says", "key:5"),
        ({"prompt": "ask_again", "languages": ("cs",)}, "prompt.says", "withdrawal"),
    ],
)
def test_prompt_that_does_not_fit(catalogue: Catalogue, change: dict[str, object], code: str, words: str) -> None:
    (finding,) = check_policies(config(msgspec.structs.replace(ASK, **change)), catalogue)
    assert (finding.code, finding.severity) == (code, "error")
    assert finding.where == ("c.toml:8" if code == "prompt.no_language" else "c.toml:7")
    assert words in finding.message


def test_never_needs_no_prompt(catalogue: Catalogue) -> None:
    assert check_policies(config(Policy(name="x", mode="never", languages=("zz",))), catalogue) == []


def test_shipped_prompts_are_loud_enough_unclipped_and_begin_soon(catalogue: Catalogue) -> None:
    assert [f for f in check_audio(catalogue) if f.severity == "warning"] == []
    for prompt in catalogue.all:
        sound = loudness(samples(Path(prompt.file).read_bytes(), prompt.file))
        assert -23 <= sound.rms_db <= -17, prompt.id
        assert sound.peak_db <= -1, prompt.id
        assert 100 <= sound.lead_ms <= 300, prompt.id
        assert sound.tail_ms <= 400, prompt.id


def test_folder_that_asterisk_cannot_enter_is_found(tmp_path: Path) -> None:
    closed = tmp_path / "private"
    closed.mkdir(mode=0o700)
    found = [f for f in check_audio(Catalogue.load(SHIPPED, closed / "cache")) if f.code == "prompt.unreadable"]
    assert len(found) == len(Catalogue.load(SHIPPED, closed / "cache").all)


def tone(amplitude: int, ms: int) -> bytes:
    return array.array("h", [round(amplitude * math.sin(i * 0.7)) for i in range(8 * ms)]).tobytes()


def test_measure_of_known_sounds() -> None:
    sound = loudness(bytes(2 * 8 * 200) + tone(16384, 500) + bytes(2 * 8 * 100))
    assert sound.peak_db == pytest.approx(-6.0, abs=0.1)
    assert sound.rms_db == pytest.approx(-9.0, abs=0.1)
    assert (sound.lead_ms, sound.tail_ms, sound.clipped) == (200, 100, 0)


def test_clipping_and_silence_are_seen() -> None:
    rail = array.array("h", [32767] * 10 + [0] * 80 * 10).tobytes()
    assert loudness(rail).clipped == 9
    silent = loudness(bytes(2 * 8 * 100))
    assert (silent.rms_db, silent.lead_ms) == (-99.0, 100)
