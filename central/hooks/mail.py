"""What the mail queue holds as letters, and one attempt to hand one over. Minimal content: a type, ids, when; no personal data."""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Mapping, Sequence
from datetime import datetime
from email.message import EmailMessage
from email.policy import SMTP
from typing import Any, Final

from central.hooks.bounded import Bound, BoundSmtp
from central.hooks.settings import Mail
from central.hooks.signing import Answer
from formats import canonical

#: Of one read.
TIMEOUT_S: Final = 20.0
#: Of a delivery as a whole, whatever the server does: a letter takes a dozen answers, each may take its time once. Less than
#: `queue.MAIL_LEASE`.
TOTAL_S: Final = 12 * TIMEOUT_S
#: What a subject may say of a message: short words of ours.
_MOST: Final = 80


def compose(settings: Mail, message_id: str, body: str, fleet: str, at: datetime) -> EmailMessage:
    """The letter of one message. `EmailMessage` refuses a header with a line end; everything told is printable before that."""
    told = canonical.loads(body)
    assert isinstance(told, dict)
    data: Mapping[str, Any] = told["data"]
    letter = EmailMessage(policy=SMTP)
    letter["From"], letter["To"] = settings.sender, ", ".join(settings.to)
    # The words that tell one letter of a type from another, where it has them.
    words = [str(data[name]) for name in ("kind", "severity", "state", "edge_id") if data.get(name)]
    letter["Subject"] = _plain(f"[callwarden {fleet}] {told['type']} {' '.join(words)}".strip())
    letter["Date"] = at
    letter["Message-ID"] = f"<{message_id}@{settings.sender.rpartition('@')[2]}>"
    letter["Auto-Submitted"] = "auto-generated"
    lines = [f"{told['type']} at {told['timestamp']}", "", *(f"{name}: {_text(value)}" for name, value in data.items())]
    if incident := data.get("incident_id"):
        lines += ["", f"callwarden central incident show {_plain(str(incident))}"]
    letter.set_content("\n".join(lines) + "\n")
    return letter


def send(
    settings: Mail, password: str, letter: EmailMessage, addresses: Sequence[str], total_s: float = TOTAL_S
) -> Answer:
    """Hand a letter over (blocking, `total_s` at most) at one of the server's addresses. Never without TLS, and never to a server whose
    certificate is not believed. No name is looked up here: nothing could break that off."""
    with Bound(total_s) as bound:
        answer = _send(settings, password, letter, addresses, bound)
    return Answer("retry", "too_slow", whole=True) if bound.over and answer.what != "sent" else answer


def _send(settings: Mail, password: str, letter: EmailMessage, addresses: Sequence[str], bound: Bound) -> Answer:
    if not (settings.user + password).isascii():  # smtplib logs in with nothing else
        return Answer("retry", "password_not_ascii", whole=True)
    try:
        context = ssl.create_default_context(cafile=None if settings.ca is None else str(settings.ca))
    except (OSError, ValueError):  # gone or spoilt since the configuration was read
        return Answer("retry", "ca", whole=True)
    try:
        at_once = context if settings.security == "tls" else None
        with BoundSmtp(bound, settings.host, addresses, settings.port, TIMEOUT_S, at_once) as server:
            if settings.security == "starttls":
                server.starttls(context=context)
            if settings.user:
                server.login(settings.user, password)
            refused = server.send_message(letter)
    except ssl.SSLCertVerificationError:
        return Answer("retry", "certificate", whole=True)
    except smtplib.SMTPAuthenticationError:
        return Answer("retry", "login", whole=True)
    except smtplib.SMTPRecipientsRefused:
        return Answer("retry", "recipients_refused", whole=True)
    except smtplib.SMTPNotSupportedError:
        return Answer("retry", "no_starttls", whole=True)
    except smtplib.SMTPResponseException as error:
        return Answer("retry", f"smtp_{error.smtp_code}", whole=True)
    except (OSError, ValueError, smtplib.SMTPException):  # a host that is no name is a ValueError
        return Answer("retry", "unreachable", whole=True)
    # Some of several: the others have it, and would have it twice.
    return Answer("sent", "some_refused" if refused else "")


def _text(value: Any) -> str:
    return _plain(value if isinstance(value, str) else canonical.dumps(value).decode())


def _plain(text: str) -> str:
    """One printable line."""
    return "".join(one if one.isprintable() else " " for one in text)[:_MOST].strip()
