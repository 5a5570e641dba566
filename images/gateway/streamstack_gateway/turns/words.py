"""The words of the open turn: final ones never change, tentative ones are replaced by every hypothesis.

Whatever an engine or a second server says, what the client sees is ordered, does not overlap and has no word twice.
"""

from collections.abc import Sequence

from streamstack_common.contracts import asr_pb2
from streamstack_common.contracts.rpc import samples_to_ms
from streamstack_gateway.dialects.events import Word


class ContractError(Exception):
    """A server broke the contract; its attempt has to end. The message says how, without any word."""


class TurnWords:
    """Words of one turn across all servers that worked on it."""

    __slots__ = ("_base", "_last", "_middle", "finals", "spoken_ms", "tentative")

    def __init__(self) -> None:
        self.finals: list[Word] = []
        self.tentative: list[Word] = []
        self.spoken_ms = 0
        self._base = 0
        self._last = 0  # end of the last final word, ms
        self._middle: int | None = None  # middle of the last final word, sample

    @property
    def empty(self) -> bool:
        """Whether the turn shows no word at all."""
        return not self.finals and not self.tentative

    @property
    def resume_sample(self) -> int | None:
        """Where another server takes over: words that start before it are already final here.

        The middle of the last final word, because two servers place the border between words some samples apart.
        """
        return self._middle

    def resume(self) -> None:
        """A new server starts behind the final words and counts its own from zero."""
        self._base = len(self.finals)
        self.tentative = []

    def update(self, words_before: int, words: Sequence[asr_pb2.Word]) -> bool:
        """Take a hypothesis; tells whether anything the client sees has changed. Raises ContractError."""
        known = self._known(words_before)
        finals = len(self.finals)
        tentative: list[Word] = []
        last = self._last
        for word in words[known:]:
            shown = _shown(word, last)
            last = shown.end_ms
            if word.is_final and not tentative:
                self._commit(shown, word)
            else:
                tentative.append(shown)
        changed = len(self.finals) != finals or tentative != self.tentative
        self.tentative = tentative
        return changed

    def update_before(self, cut_sample: int, words_before: int, words: Sequence[asr_pb2.Word]) -> bool:
        """The same while the turn is being ended: words that start at or after the cut belong to the next one."""
        if words_before > len(self.finals) - self._base:
            # The final words that are missing here lie behind the cut, and so does everything after them.
            return False
        return self.update(words_before, [word for word in words if word.start_sample < cut_sample])

    def complete(self, words_before: int, words: Sequence[asr_pb2.Word]) -> None:
        """Take the words that end the turn; nothing stays tentative. Raises ContractError."""
        for word in words[self._known(words_before) :]:
            self._commit(_shown(word, self._last, final=True), word)
        self.tentative = []

    def settle(self) -> None:
        """End the turn with what is known, when no server can complete it."""
        for word in self.tentative:
            self.finals.append(Word(word.text, word.start_ms, word.end_ms, word.confidence, True))
        self.tentative = []

    def _known(self, words_before: int) -> int:
        """How many of a message's words are final here already."""
        known = len(self.finals) - self._base - words_before
        if known < 0:
            raise ContractError(f"words from {words_before} on, but only {known + words_before} were final before")
        return known

    def _commit(self, shown: Word, word: asr_pb2.Word) -> None:
        self.finals.append(shown)
        self.spoken_ms += shown.end_ms - shown.start_ms
        self._last = shown.end_ms
        self._middle = (word.start_sample + word.end_sample) // 2


def _shown(word: asr_pb2.Word, after_ms: int, *, final: bool = False) -> Word:
    start = max(samples_to_ms(word.start_sample), after_ms)
    end = max(samples_to_ms(word.end_sample), start + 1)
    return Word(word.text, start, end, round(word.confidence, 4), final or word.is_final)
