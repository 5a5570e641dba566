"""What a session has used beside audio, for its usage report: names and numbers, never text."""

from typing import Final

from streamstack_gateway.dialects.events import ConfigurationChange, SessionRequest, Turn

KEYTERMS: Final = "keyterms"
LANGUAGE_DETECTION: Final = "language_detection"
FORMATTED_TURNS: Final = "formatted_turns"
PROFANITY_FILTER: Final = "profanity_filter"
PARTIALS: Final = "partials"


class Used:
    """Features by name, each from its first use on, and characters of the transcripts of ended turns."""

    __slots__ = ("features", "transcript_characters")

    def __init__(self, request: SessionRequest) -> None:
        self.transcript_characters = 0
        self.features: set[str] = set()
        self._add(
            {
                KEYTERMS: bool(request.keyterms),
                LANGUAGE_DETECTION: request.language_detection,
                FORMATTED_TURNS: request.turns.format_turns,
                PROFANITY_FILTER: request.turns.filter_profanity,
                PARTIALS: request.turns.include_partial_turns,
            }
        )

    def change(self, change: ConfigurationChange) -> None:
        """A client reconfigures."""
        self._add(
            {
                KEYTERMS: bool(change.keyterms),
                FORMATTED_TURNS: bool(change.format_turns),
                PROFANITY_FILTER: bool(change.filter_profanity),
            }
        )

    def turn(self, turn: Turn) -> None:
        """A turn is sent."""
        if turn.end_of_turn:
            self.transcript_characters += len(turn.transcript)

    def _add(self, used: dict[str, bool]) -> None:
        self.features.update(name for name, is_used in used.items() if is_used)
