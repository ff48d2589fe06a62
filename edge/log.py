"""The log: one sentence per decision with its facts beside it, as JSON lines for machines or plain lines for people.

Values come from callers and from Asterisk; control characters are escaped, so nobody can forge a line or move a cursor.
"""

from __future__ import annotations

import logging
import sys
from typing import Any, Literal, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


def set_up(form: Literal["json", "console"] = "json", *, level: str = "info", stream: TextIO | None = None) -> None:
    """Configure structlog for this process. stream: default stderr, which systemd takes into the journal.

    level: debug, info, warning or error. Raises ValueError on another word.
    """
    if level not in _LEVELS:
        raise ValueError(f"no such log level: {level!r}")
    order = ["timestamp", "level", "event"]
    lines, document = structlog.processors.LogfmtRenderer(key_order=order), structlog.processors.JSONRenderer()
    render: Processor = document if form == "json" else lines
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            escape_values,
            render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=structlog.WriteLoggerFactory(stream or sys.stderr),
        cache_logger_on_first_use=True,
    )


def escape_values(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Escape what is not printable in every text value; a traceback keeps its line ends."""
    return {key: value if key == "exception" else _escape(value) for key, value in event.items()}


def _escape(value: Any) -> Any:
    if not isinstance(value, str) or value.isprintable():
        return value
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in value)
