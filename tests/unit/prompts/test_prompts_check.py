"""Do prompts and policies fit, and how do the shipped prompts sound."""

from __future__ import annotations

import array
import hashlib
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgspec
import pytest

from edge.config import AsteriskSection, CentralSection, EdgeConfig, EdgeSection
from edge.consent.policy import Choices, Policy, Question
from edge.consent.units import Period
from edge.errors import CallwardenError
from edge.prompts.audio import KNEE_DB, PEAK_DB, TARGET_RMS_DB, levelled, loudness, samples, wav_file
from edge.prompts.catalogue import Catalogue
from edge.prompts.check import check_audio, check_policies, check_scripts
from edge.prompts.manifest import Manifest, PromptEntry, parse_manifest, render_manifest

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
        ({"languages": ("cs", "pl")}, "prompt.no_language", 'prompt "ask" is not there in language "pl"'),
        ({"prompt": "sing", "languages": ("cs",)}, "prompt.unknown", '"sing"'),
        (
            {"purposes": ("quality", "training"), "languages": ("cs",)},
            "prompt.says",
            "cs/ask does not say purpose:train",
        ),
        ({"yes_key": "5", "languages": ("cs",)}, "prompt.says", "cs/ask_again does not say key:5"),
        ({"prompt": "ask_again", "languages": ("cs",)}, "prompt.says", "withdrawal"),
        ({"hold": "record", "languages": ("cs",)}, "prompt.says", "cs/ask_third does not say hold"),
        ({"language_did": Choices({"+420555": "hu"}), "languages": ("cs",)}, "prompt.no_language", '"resumed"'),
        (
            {"language_choice": Choices({"9": "cs"}), "languages": ("cs",)},
            "prompt.says",
            "cs/language does not say key:9",
        ),
        (
            {"further": (Question(purposes=("sales",), prompt="ask_training"),), "languages": ("cs",)},
            "prompt.says",
            "cs/ask_training does not say purpose:sales",
        ),
    ],
)
def test_prompt_that_does_not_fit(catalogue: Catalogue, change: dict[str, object], code: str, words: str) -> None:
    found = check_policies(config(msgspec.structs.replace(ASK, **change)), catalogue)
    assert {(f.code, f.severity) for f in found} == {(code, "error")}
    (one,) = [f for f in found if words in f.message]
    assert one.message.startswith('policy "support": ')
    assert one.hint
    if "languages" in change and not set(change) & {"language_did", "language_choice"}:
        assert one.where == ("c.toml:8" if code == "prompt.no_language" else "c.toml:7")


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    """A copy of the shipped English pack that a test may spoil."""
    shutil.copytree(SHIPPED / "en", tmp_path / "prompts" / "en")
    return tmp_path / "prompts"


def spoil(pack: Path, prompt_id: str, change: Callable[[dict[str, Any]], None], pcm: bytes | None = None) -> None:
    """Rewrite one entry of the manifest (None: drop it), with the hash of other audio where given."""
    file = pack / "en" / "manifest.toml"
    manifest = parse_manifest(file.read_text(), file)
    entries = []
    for entry in manifest.prompt:
        fields: dict[str, Any] = msgspec.structs.asdict(entry)
        if entry.id == prompt_id:
            change(fields)
            if pcm is not None:
                data = wav_file(pcm)
                (pack / "en" / entry.file).write_bytes(data)
                fields |= {"sha256": hashlib.sha256(data).hexdigest(), "duration_ms": len(pcm) // 16, "rms_db": None}
                fields["answerable_from_ms"] = 0
        if fields["id"]:
            entries.append(PromptEntry(**fields))
    file.write_text(render_manifest(Manifest(language="en", prompt=tuple(entries))))


@pytest.mark.parametrize("gone", ["ask", "ask_again", "ask_third", "ask_callee_again", "withdrawn", "paused", "tone"])
def test_pack_without_a_prompt_is_refused_by_name(pack: Path, tmp_path: Path, gone: str) -> None:
    spoil(pack, gone, lambda fields: fields.update(id=""))
    policy = msgspec.structs.replace(ASK, languages=("en",))
    (finding,) = check_policies(config(policy), Catalogue.load(pack, tmp_path / "cache"))
    assert (finding.code, finding.severity, finding.where) == ("prompt.unknown", "error", "c.toml:7")
    assert f'"{gone}"' in finding.message
    assert f"{pack}/en/manifest.toml" in finding.hint
    assert "callwarden prompts import" in finding.hint


@pytest.mark.parametrize(
    ("mode", "gone", "change"),
    [
        ("opt_out", "object_again", {"basis": "legitimate_interests"}),
        ("notice", "notice", {"basis": "legitimate_interests"}),
        ("prior", "reminder", {}),
        ("prior", "ask", {}),
        ("obligation", "legal", {"basis": "legal_obligation"}),
        ("obligation", "objection_noted", {"basis": "legal_obligation"}),
        ("notice", "objection_noted", {"basis": "contract"}),
        ("manual", "ask_third", {}),
        ("opt_in", "refused_call", {"on_failure": "refuse_call"}),
        ("opt_in", "unavailable_notice", {"on_failure_midcall": "announce"}),
        ("opt_in", "unavailable_notice", {"on_failure_midcall": "hang_up"}),
        ("manual", "thanks_recorded", {}),
        ("opt_in", "ask_short", {"remember": Period("P30D")}),
        ("opt_in", "language", {"language_choice": Choices({"1": "en"})}),
        ("opt_in", "ask_training", {"further": (Question(purposes=("training",), prompt="ask_training"),)}),
    ],
)
def test_what_a_mode_needs(pack: Path, tmp_path: Path, mode: Any, gone: str, change: dict[str, Any]) -> None:
    policy = Policy(name="support", mode=mode, purposes=("quality", "evidence"), **change)
    assert check_policies(config(policy), Catalogue.load(pack, tmp_path / "cache")) == []
    spoil(pack, gone, lambda fields: fields.update(id=""))
    (finding,) = check_policies(config(policy), Catalogue.load(pack, tmp_path / "cache2"))
    assert f'"{gone}"' in finding.message


def test_obligation_that_plays_nothing_needs_no_notice(pack: Path, tmp_path: Path) -> None:
    spoil(pack, "legal", lambda fields: fields.update(id=""))
    policy = Policy(name="x", mode="obligation", basis="legal_obligation", prompt="none", purposes=("evidence",))
    assert check_policies(config(policy), Catalogue.load(pack, tmp_path / "cache")) == []


@pytest.mark.parametrize(
    ("pcm", "code", "words"),
    [
        (lambda: tone(30000, 3000), "prompt.loudness", "too loud: -3.8 dB"),
        (lambda: tone(400, 3000), "prompt.loudness", "too quiet: -41.3 dB"),
        (lambda: bytes(16 * 3000), "prompt.loudness", "too quiet"),
        (lambda: tone(5000, 3000) + b"\xff\x7f" * 9, "prompt.clipped", "8 places"),
    ],
)
def test_prompt_nobody_can_listen_to(
    pack: Path, tmp_path: Path, pcm: Callable[[], bytes], code: str, words: str
) -> None:
    spoil(pack, "ask", lambda fields: None, pcm())
    catalogue = Catalogue.load(pack, tmp_path / "cache")
    (finding,) = check_policies(config(msgspec.structs.replace(ASK, languages=("en",))), catalogue)
    assert (finding.code, finding.severity, finding.where) == (code, "error", "c.toml:7")
    assert words in finding.message
    assert [f.code for f in check_audio(catalogue) if f.code != "prompt.unreadable"] == [code]


def test_bad_prompt_of_a_language_nobody_speaks_stops_nothing(pack: Path, tmp_path: Path) -> None:
    shutil.copytree(SHIPPED / "cs", pack / "cs")
    spoil(pack, "ask", lambda fields: None, tone(30000, 3000))
    policy = msgspec.structs.replace(ASK, languages=("cs",))
    assert check_policies(config(policy), Catalogue.load(pack, tmp_path / "cache")) == []


def test_level_that_is_not_as_the_manifest_says(pack: Path, tmp_path: Path) -> None:
    spoil(pack, "ask", lambda fields: fields.update(rms_db=-12.5))
    with pytest.raises(CallwardenError, match=r"the audio is at -19.* dB, the manifest says -12.5") as caught:
        Catalogue.load(pack, tmp_path / "cache")
    assert (caught.value.code, caught.value.where) == ("prompt.loudness", str(pack / "en" / "ask.wav"))


@pytest.mark.parametrize("what", ["text", "version", "says"])
def test_manifest_with_other_words_than_its_script(pack: Path, tmp_path: Path, what: str) -> None:
    other = {"text": "Something else.", "version": "1.1", "says": ("recording",)}[what]
    spoil(pack, "notice", lambda fields: fields.update({what: other}))
    (finding,) = check_scripts(Catalogue.load(pack, tmp_path / "cache"))
    assert (finding.code, finding.where) == ("prompt.script", str(pack / "en" / "manifest.toml"))
    assert finding.message.startswith(f"{what} of prompt en/notice is ")


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


@pytest.mark.parametrize("amplitude", [3000, 9000, 32000])
@pytest.mark.parametrize("peak", [1, 12])
def test_levelled_speech_is_at_the_target_and_under_the_peak(amplitude: int, peak: int) -> None:
    """`peak`: how much louder than the rest a few samples are, which only a limiter can hold."""
    quiet = tone(amplitude // peak, 400)
    sound = loudness(levelled(quiet + tone(amplitude, 3) + quiet))
    assert sound.rms_db == pytest.approx(TARGET_RMS_DB, abs=1.0)
    assert sound.peak_db <= PEAK_DB
    assert sound.clipped == 0


def test_levelling_is_plain_gain_below_the_knee() -> None:
    once = levelled(tone(1000, 500))
    assert loudness(once).peak_db < KNEE_DB
    ratio = [
        b / a for a, b in zip(array.array("h", tone(1000, 500)), array.array("h", once), strict=True) if abs(a) > 500
    ]
    assert max(ratio) - min(ratio) < 0.01


def test_silence_stays_silence() -> None:
    assert levelled(bytes(1600)) == bytes(1600)
