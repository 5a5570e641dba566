import pytest

from streamstack_asr.engines.base import (
    EngineError,
    EngineEvent,
    Final,
    Hypothesis,
    SessionConfig,
    SessionStart,
    TurnEnded,
)
from streamstack_asr.engines.null import create
from streamstack_asr.engines.null.engine import CHUNK_SAMPLES, TURN_WORDS, NullSession
from streamstack_asr.engines.options import EngineOptions

CHUNK = bytes(2 * CHUNK_SAMPLES)


def session(events: list[EngineEvent], *, turn_start_sample: int = 0) -> NullSession:
    return NullSession(SessionStart("s", "m", 0, 4, turn_start_sample, SessionConfig()), events.append)


def test_a_turn_grows_by_one_word_a_chunk_and_every_final_word_is_sent_once() -> None:
    events: list[EngineEvent] = []
    session(events).push(CHUNK * 12)
    hypotheses = [event for event in events if isinstance(event, Hypothesis)]
    assert [h.words_before for h in hypotheses] == [0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]
    assert [[w.is_final for w in h.words] for h in hypotheses] == [[False], *[[True, False]] * 9, [True], []]
    finals = [word for h in hypotheses for word in h.words if word.is_final]
    assert tuple(word.text for word in finals) == TURN_WORDS
    assert [(w.start_sample, w.end_sample) for w in finals] == [
        (k * CHUNK_SAMPLES, (k + 1) * CHUNK_SAMPLES) for k in range(10)
    ]
    assert [h.trailing_silence_ms for h in hypotheses[8:]] == [0, 0, 160, 320]
    assert [h.speech_probability for h in hypotheses[8:]] == [1, 1, 0, 0]


def test_pieces_are_gathered_into_chunks() -> None:
    events: list[EngineEvent] = []
    null = session(events)
    for _ in range(16):
        null.push(bytes(2 * 160))
    assert len(events) == 1


def test_ending_the_turn_completes_it_and_the_next_one_is_spoken_at_once() -> None:
    events: list[EngineEvent] = []
    null = session(events)
    null.push(CHUNK * 3)
    null.end_turn(4, 3 * CHUNK_SAMPLES)
    null.push(CHUNK)
    final, ended, following = events[3:]
    assert isinstance(final, Final)
    assert (final.words_before, [w.text for w in final.words]) == (2, [TURN_WORDS[2]])
    assert all(word.is_final for word in final.words)
    assert ended == TurnEnded(4, 3 * CHUNK_SAMPLES)
    assert isinstance(following, Hypothesis)
    assert (following.turn_id, following.words_before, following.words[0].text) == (5, 0, TURN_WORDS[0])


def test_words_after_the_end_of_a_turn_move_to_the_next() -> None:
    events: list[EngineEvent] = []
    null = session(events)
    null.push(CHUNK * 3)
    null.end_turn(4, CHUNK_SAMPLES)
    ended, following = events[-3:-1], events[-1]
    assert ended == [Final(4, 1, ()), TurnEnded(4, CHUNK_SAMPLES)]
    assert isinstance(following, Hypothesis)
    assert (following.turn_id, following.words_before, following.through_sample) == (5, 0, 3 * CHUNK_SAMPLES)
    assert [(w.text, w.is_final) for w in following.words] == [(TURN_WORDS[1], True), (TURN_WORDS[2], False)]
    assert following.stable_through_sample == 2 * CHUNK_SAMPLES
    null.end_turn(5, 3 * CHUNK_SAMPLES)
    final = events[-2]
    assert isinstance(final, Final)
    assert (final.words_before, [w.text for w in final.words]) == (1, [TURN_WORDS[2]])


def test_audio_before_the_turn_start_is_context() -> None:
    events: list[EngineEvent] = []
    session(events, turn_start_sample=CHUNK_SAMPLES + 10).push(CHUNK * 2)
    first, second = (event for event in events if isinstance(event, Hypothesis))
    assert first.words == ()
    assert second.words[0].start_sample == CHUNK_SAMPLES + 10


async def test_there_is_no_batch_mode() -> None:
    engine = create(EngineOptions(models=("m",)))
    assert not engine.describe().batch
    with pytest.raises(EngineError, match="no batch mode"):
        await engine.transcribe(b"\0\0", SessionConfig())
