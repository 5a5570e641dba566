"""Counts of one server, as plain numbers: a lock per audio chunk would cost more than the chunk."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class Totals:
    """Since the start of the server; ``links`` and ``backlog_bytes`` are the present."""

    audio_samples: int = 0
    hypotheses: int = 0
    finals: int = 0
    links: int = 0
    opens: Counter[str] = field(default_factory=Counter)
    """Result of an Open (``opened`` or the reason of its refusal) -> count."""
    closed: Counter[str] = field(default_factory=Counter)
    """Reason of a Closed, or ``LINK_LOST`` -> count."""
    links_ended: Counter[str] = field(default_factory=Counter)
    """Why a link ended -> count."""
    transcribes: Counter[str] = field(default_factory=Counter)
    """Status of a Transcribe -> count."""
    transcribed_samples: int = 0
