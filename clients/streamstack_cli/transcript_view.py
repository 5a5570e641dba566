"""What of a transcript is on the screen: pure state, turns in, text to write out."""

import unicodedata
from typing import Final

from streamstack_cli.v3 import Turn

_ERASE_LINE: Final = "\r\x1b[K"
_ELLIPSIS: Final = "…"


class TranscriptView:
    """Turns as lines: partials redrawn in place on a terminal, each turn's final once, in order.

    ``formatted`` says that formatting was asked for. Servers of the older generation then end a turn twice, unformatted
    and formatted (``reference/assemblyai-protocol.md`` 6.2): the first counts only when the second never comes.
    """

    def __init__(self, *, formatted: bool) -> None:
        self._formatted = formatted
        self._pending: Turn | None = None
        self._last_final = -1
        self._line_shown = False

    def turn(self, turn: Turn, *, columns: int | None) -> str:
        """Text to write for a turn's new state; ``columns`` is the terminal's width, None without a terminal."""
        if turn.turn_order <= self._last_final:
            return ""
        written = ""
        if self._pending is not None and self._pending.turn_order != turn.turn_order:
            written = self._flush()
        if not turn.end_of_turn:
            return written + self._partial(turn.text, columns)
        if self._formatted and not turn.is_formatted:
            self._pending = turn
            return written + self._partial(turn.text, columns)
        return written + self._final(turn)

    def finish(self) -> str:
        """Text to write when nothing more comes."""
        return self._flush() or self._clear()

    def _flush(self) -> str:
        return self._final(self._pending) if self._pending is not None else ""

    def _final(self, turn: Turn) -> str:
        self._pending = None
        self._last_final = turn.turn_order
        text = printable(turn.text)
        return self._clear() + (f"{text}\n" if text else "")

    def _partial(self, text: str, columns: int | None) -> str:
        if columns is None or not text:
            return ""
        self._line_shown = True
        # One column stays free: a full line makes some terminals wrap.
        return _ERASE_LINE + tail(printable(text), columns - 1)

    def _clear(self) -> str:
        shown, self._line_shown = self._line_shown, False
        return _ERASE_LINE if shown else ""


def printable(text: str) -> str:
    """Keep what a terminal prints and nothing it obeys."""
    return "".join(character if character.isprintable() else " " for character in text).strip()


def tail(text: str, columns: int) -> str:
    """Return the end of ``text`` that fits into ``columns``, with an ellipsis where something is left out."""
    if sum(map(_width, text)) <= columns:
        return text
    room = columns - 1
    start = len(text)
    while start and room >= _width(text[start - 1]):
        start -= 1
        room -= _width(text[start])
    return (_ELLIPSIS + text[start:])[: max(columns, 0)]


def _width(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in {"W", "F"} else 1
