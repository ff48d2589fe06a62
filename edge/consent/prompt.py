"""A prompt as a call sees it: a value with the facts that become evidence. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Prompt:
    """One recorded sentence in one language.

    version: "major.minor" (a new major asks people again); sha256: hex, of the whole audio file; path: absolute,
    without the extension, as Asterisk wants it; file: the same with it; duration_ms: of the audio;
    answerable_from_ms: a key counts from here on (what for, and that one may withdraw, have been said); says: what the
    sentence states, in the words of `edge.consent.policy.required_sayings`.
    """

    id: str
    version: str
    language: str
    sha256: str
    path: str
    file: str
    duration_ms: int
    answerable_from_ms: int
    text: str
    says: tuple[str, ...]

    @property
    def major(self) -> int:
        """The part of the version that makes a remembered answer void when it changes."""
        return int(self.version.split(".", 1)[0])
