from dataclasses import replace

from streamstack_gateway.dialects.events import (
    ConfigurationChange,
    Encoding,
    SessionRequest,
    Turn,
    TurnSettings,
)
from streamstack_gateway.session.used import Used

PLAIN = SessionRequest(
    None, 16_000, Encoding.PCM_S16LE, TurnSettings(0.4, 400, 1280, 0.4, format_turns=False, include_partial_turns=False)
)
EVERYTHING = replace(
    PLAIN,
    turns=replace(PLAIN.turns, format_turns=True, include_partial_turns=True, filter_profanity=True),
    keyterms=("Kowalczykiewicz",),
    language_detection=True,
)


def turn(transcript: str, *, ends: bool) -> Turn:
    return Turn(0, is_formatted=False, end_of_turn=ends, transcript=transcript, end_of_turn_confidence=1.0, words=())


def test_a_plain_session_uses_nothing() -> None:
    assert Used(PLAIN).features == set()


def test_what_is_asked_for_is_used_and_only_names_are_kept() -> None:
    assert Used(EVERYTHING).features == {
        *("formatted_turns", "keyterms", "language_detection", "partials", "profanity_filter"),
    }


def test_what_is_switched_on_later_stays_used_when_it_is_switched_off() -> None:
    used = Used(PLAIN)
    used.change(ConfigurationChange(keyterms=("mill",), format_turns=True))
    used.change(ConfigurationChange(keyterms=(), format_turns=False, filter_profanity=False))
    assert used.features == {"keyterms", "formatted_turns"}


def test_only_transcripts_of_ended_turns_count() -> None:
    used = Used(PLAIN)
    for text, ends in (("at the", False), ("at the mill", True), ("", True), ("again", False), ("ünd", True)):
        used.turn(turn(text, ends=ends))
    assert used.transcript_characters == len("at the mill") + 3
