"""What stages need from the world, as Protocols. Adapters implement them; only `edge.app` knows both sides."""

from edge.ports.afterwork_book import AfterworkBook
from edge.ports.asterisk import (
    Asterisk,
    CallerGone,
    ChannelSink,
    Dialogue,
    DialogueLost,
    Handler,
)
from edge.ports.evidence import EvidenceBook
from edge.ports.finds import FindBook
from edge.ports.holds import HoldBook
from edge.ports.journal import AuditBook, AuditSink, CallBook, Journal, OrderBook, OutboxBook, RecordingBook
from edge.ports.key_book import KeyBook
from edge.ports.live_books import LiveBook, MemoryBook, NoticeBook
from edge.ports.media import MediaBook, MediaDoor, MediaState
from edge.ports.ordered import OrderedBook
from edge.ports.rectify import RectifyBook
from edge.ports.restores import ElsewherePort, RestoreBook
from edge.ports.retention import RetentionBook
from edge.ports.stages import Clock, KeeperPort, LiveCalls, PromptPort, RecorderPort
from edge.ports.vault import Slots, Vault

__all__ = [
    "AfterworkBook", "Asterisk", "AuditBook", "AuditSink", "CallBook", "CallerGone", "ChannelSink", "Clock", "Dialogue",
    "DialogueLost",
    "ElsewherePort", "EvidenceBook", "FindBook", "Handler", "HoldBook", "Journal", "KeeperPort", "KeyBook",
    "LiveBook", "LiveCalls", "MediaBook", "MediaDoor", "MediaState",
    "MemoryBook", "NoticeBook", "OrderBook", "OrderedBook", "OutboxBook", "PromptPort", "RecorderPort",
    "RecordingBook",
    "RectifyBook", "RestoreBook", "RetentionBook", "Slots", "Vault",
]  # fmt: skip
