"""What the gateway is told: the event, and a sentence it may send as it is. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from edge.model.live import NoticeRow
from formats import canonical

#: Type of the event, in the words of the webhook's receiver.
TYPE: Final = "call.notice"
#: One sentence a language, one more where there is a link.
_SAYS: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {
        "en": ("Your telephone call with us is recorded.", "What for, and your rights: {link}"),
        "cs": ("Váš hovor s námi je nahráván.", "K čemu a jaká máte práva: {link}"),
        "sk": ("Váš hovor s nami je nahrávaný.", "Na čo a aké máte práva: {link}"),
        "de": ("Ihr Telefonat mit uns wird aufgezeichnet.", "Wofür, und Ihre Rechte: {link}"),
        "fr": ("Votre appel avec nous est enregistré.", "Pourquoi, et vos droits : {link}"),
        "es": ("Su llamada con nosotros se graba.", "Para qué, y sus derechos: {link}"),
    }
)


def text(language: str, link: str) -> str:
    """The sentence in a language of the shipped prompts, else in English."""
    says, more = _SAYS.get(language.lower()[:2], _SAYS["en"])
    return f"{says} {more.format(link=link)}" if link else says


def body(notice: NoticeRow, *, policy_id: str, policy_version: str, language: str, link: str) -> bytes:
    """The webhook's body: canonical JSON, the same bytes at every attempt. The notice still has its number."""
    return canonical.dumps(
        {
            "type": TYPE,
            "timestamp": notice.made_at,
            "data": {
                "notice_id": notice.notice_id,
                "call_id": notice.call_id,
                "when": notice.when_,
                "number": notice.number_e164,
                "country": notice.country,
                "policy": policy_id,
                "policy_version": policy_version,
                "language": language,
                "link": link,
                "text": text(language, link),
            },
        }
    )
