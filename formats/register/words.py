"""The words of a register in one language; what people wrote is never translated. Pure."""

from __future__ import annotations

import re
from typing import Final

from formats.register import words_cs, words_de, words_en, words_es, words_fr, words_sk

WORDS: Final[dict[str, dict[str, str]]] = {
    "en": words_en.WORDS,
    "cs": words_cs.WORDS,
    "de": words_de.WORDS,
    "sk": words_sk.WORDS,
    "fr": words_fr.WORDS,
    "es": words_es.WORDS,
}
LANGUAGES: Final = tuple(WORDS)
_PERIOD = re.compile(r"P(?=\d)(?:(\d+)Y)?(?:(\d+)M)?(?:(\d+)W)?(?:(\d+)D)?", re.ASCII)


class Words:
    """lang: one of `LANGUAGES`; another one gives English words, and says so by its own `lang`."""

    def __init__(self, lang: str) -> None:
        self.lang = lang if lang in WORDS else "en"
        self._words = WORDS[self.lang]

    def __call__(self, key: str, /, **facts: object) -> str:
        """A phrase. A fact is put in once: braces in it stay what they are."""
        return self._words[key].format(**facts)

    def fill(self, what: str) -> str:
        """What stands in the place of a fact that nobody gave; what: its name in register.toml."""
        return self("fill", what=what)

    def period(self, text: str) -> str:
        """An ISO 8601 period of whole days or longer in words: "P6M" is "6 months". Another text as it is."""
        match = _PERIOD.fullmatch(text)
        if match is None:
            return text
        parts = [self._count(int(n), unit) for n, unit in zip(match.groups(), "YMWD", strict=True) if n and int(n)]
        return " ".join(parts) or self._count(0, "D")

    def _count(self, number: int, unit: str) -> str:
        one, few, many = self(f"unit.{unit}").split("|")
        return f"{number} {one if number == 1 else few if 2 <= number <= 4 else many}"

    def has(self, key: str) -> bool:
        """Whether there is such a phrase."""
        return key in self._words
