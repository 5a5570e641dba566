"""The open turn of a session: its words, when it ends, and how it is shown."""

from streamstack_common.contracts import asr_pb2
from streamstack_gateway.dialects.events import Turn, TurnSettings, Word
from streamstack_gateway.turns.detector import Decision, Signs, TurnDetector
from streamstack_gateway.turns.formatting import formatted
from streamstack_gateway.turns.words import TurnWords


class OpenTurn:
    """One turn after another; ``turn_order`` counts those the client has seen words of."""

    def __init__(self, settings: TurnSettings, *, language_detection: bool) -> None:
        self.order = 0
        self.words = TurnWords()
        self._detector = TurnDetector(settings)
        self._language_detection = language_detection
        self._language: tuple[str, float] | None = None
        self._uttered = 0  # final words already shown in an utterance

    @property
    def settings(self) -> TurnSettings:
        """The thresholds in force."""
        return self._detector.settings

    @settings.setter
    def settings(self, settings: TurnSettings) -> None:
        self._detector.settings = settings

    def hypothesis(self, message: asr_pb2.Hypothesis, *, cut: int | None) -> tuple[bool, Decision]:
        """Take news; tells whether the client sees a change and what becomes of the turn.

        Words that start at or after ``cut``, where the turn was told to end, belong to the next one. Raises
        ContractError.
        """
        words = self.words
        if cut is None:
            changed = words.update(message.words_before, message.words)
        else:
            changed = words.update_before(cut, message.words_before, message.words)
        self._note_language(message)
        complete = message.turn_complete_probability if message.HasField("turn_complete_probability") else None
        last = words.tentative or words.finals
        spoken_ms = words.spoken_ms + sum(word.end_ms - word.start_ms for word in words.tentative)
        decision = self._detector.observe(
            Signs(
                message.through_sample,
                message.speech_probability,
                message.trailing_silence_ms,
                complete,
                spoken_ms,
                last[-1].text if last else "",
                message.speech_profile,
            )
        )
        return changed, decision

    def partial(self, *, pause: bool) -> Turn:
        """The turn so far; ``pause`` adds the stretch since the last pause as an utterance."""
        words = self._show((*self.words.finals, *self.words.tentative))
        utterance = ""
        if pause:
            utterance = _text(words[self._uttered :])
            self._uttered = len(words)
        return self._turn(words, utterance=utterance)

    def complete(self, message: asr_pb2.Final) -> Turn | None:
        """The last word on the turn, None when it has no words. Raises ContractError."""
        self.words.complete(message.words_before, message.words)
        self._note_language(message)
        return self._final()

    def settle(self) -> Turn | None:
        """End the turn with what is known, because no server will complete it."""
        self.words.settle()
        return self._final()

    def next(self, sample: int) -> None:
        """The next turn begins at ``sample``; a turn nobody saw leaves no gap in ``turn_order``."""
        if self.words.finals:
            self.order += 1
        self.words = TurnWords()
        self._language = None
        self._uttered = 0
        self._detector.start(sample)

    def _final(self) -> Turn | None:
        words = tuple(self.words.finals)
        if not words:
            return None
        shown = formatted(words, complete=True) if self.settings.format_turns else words
        return self._turn(shown, utterance=_text(shown[self._uttered :]), end_of_turn=True)

    def _show(self, words: tuple[Word, ...]) -> tuple[Word, ...]:
        return formatted(words, complete=False) if self.settings.format_turns else words

    def _turn(self, words: tuple[Word, ...], *, utterance: str, end_of_turn: bool = False) -> Turn:
        language = self._language if self._language_detection and (end_of_turn or utterance) else None
        return Turn(
            turn_order=self.order,
            is_formatted=self.settings.format_turns,
            end_of_turn=end_of_turn,
            transcript=" ".join([word.text for word in words if word.is_final]),
            end_of_turn_confidence=self._detector.confidence,
            words=words,
            utterance=utterance,
            language_code=language[0] if language else None,
            language_confidence=language[1] if language else None,
        )

    def _note_language(self, message: asr_pb2.Hypothesis | asr_pb2.Final) -> None:
        if message.language:
            self._language = (message.language, round(message.language_confidence, 4))


def _text(words: tuple[Word, ...]) -> str:
    return " ".join([word.text for word in words])
