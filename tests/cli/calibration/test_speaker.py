"""A session of the load: contiguous audio, turns, and which answer answers what."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamstack_cli.calibration.speaker import Speaker, Speech, spread
from streamstack_common.contracts.rpc import MAX_MESSAGE_BYTES

CHUNK = 2560
PCM = bytes(range(256)) * 100


def speaker(number: int = 1, *, chunk: int = CHUNK, turn_chunks: int = 0, pcm: bytes = PCM) -> Speaker:
    return Speaker(number, Speech(pcm, chunk_samples=chunk), chunk_samples=chunk, turn_chunks=turn_chunks)


@settings(deadline=None)
@given(number=st.integers(1, 5000), samples=st.integers(1, 9000), chunk=st.integers(1, 20_000), count=st.integers(1, 9))
def test_what_is_spoken_is_the_recording_again_and_again_without_a_gap(
    number: int, samples: int, chunk: int, count: int
) -> None:
    pcm = b"".join(sample.to_bytes(2, "little") for sample in range(samples))
    talker = speaker(number, chunk=chunk, pcm=pcm)
    said, expected_offset = [], 0
    for index in range(count):
        for request in talker.speak(float(index)):
            assert request.session == number
            assert request.audio.offset == expected_offset
            assert len(request.audio.pcm) <= MAX_MESSAGE_BYTES
            expected_offset += len(request.audio.pcm) // 2
            said.append(request.audio.pcm)
    heard = b"".join(said)
    assert len(heard) == 2 * chunk * count
    values = [int.from_bytes(heard[at : at + 2], "little") for at in range(0, len(heard), 2)]
    assert all(after == (before + 1) % samples for before, after in itertools.pairwise(values))


def test_sessions_begin_at_different_places_of_the_recording() -> None:
    first = {next(speaker(number).speak(0.0)).audio.pcm[:16] for number in range(1, 41)}
    assert len(first) > 30


@given(st.integers(2, 3000))
def test_any_number_of_sessions_is_spread_evenly(count: int) -> None:
    places = sorted(spread(number) for number in range(1, count + 1))
    gaps = [after - before for before, after in zip(places, [*places[1:], places[0] + 1], strict=True)]
    # Three-gap theorem: with the golden ratio the widest gap is below 2.62 (its square) times the narrowest.
    assert max(gaps) < 2.7 / count


def test_a_chunk_is_answered_once_by_the_first_hypothesis_that_reaches_into_it() -> None:
    talker = speaker()
    for due in (1.0, 2.0, 3.0):
        list(talker.speak(due))
    assert [tuple(answer) for answer in talker.decoded(CHUNK, 1.5)] == [(1.0, 0.5)]
    assert list(talker.decoded(CHUNK, 1.6)) == []
    assert [answer.due for answer in talker.decoded(3 * CHUNK, 5.0)] == [2.0, 3.0]
    assert not talker.unanswered


def test_steps_that_do_not_end_where_chunks_do_are_answers_all_the_same() -> None:
    talker = speaker()
    list(talker.speak(1.0))
    assert [answer.due for answer in talker.decoded(CHUNK - 1024, 1.1)] == [1.0]
    list(talker.speak(2.0))
    assert [answer.due for answer in talker.decoded(2 * CHUNK - 1024, 2.1)] == [2.0]


def test_what_a_new_turn_goes_through_again_is_no_answer() -> None:
    talker = speaker()
    for due in (1.0, 2.0):
        list(talker.speak(due))
    list(talker.decoded(2 * CHUNK, 2.1))
    assert list(talker.decoded(CHUNK, 9.0)) == []


@given(st.lists(st.integers(0, 40 * CHUNK)), st.integers(1, 30))
def test_every_chunk_is_answered_or_waits_and_never_both(through: list[int], chunks: int) -> None:
    talker = speaker()
    for number in range(chunks):
        list(talker.speak(float(number)))
    answered = [answer.due for sample in through for answer in talker.decoded(sample, 100.0)]
    waiting = [due for _, due in talker.unanswered]
    assert answered + waiting == [float(number) for number in range(chunks)]


def test_turns_end_after_their_chunks_where_the_audio_is_and_count_up() -> None:
    talker = speaker(turn_chunks=3)
    ends = [
        (int(due), request.end_turn.turn_id, request.end_turn.through_sample)
        for due in range(1, 20)
        for request in talker.speak(float(due))
        if request.WhichOneof("request") == "end_turn"
    ]
    assert [turn for _, turn, _ in ends] == list(range(len(ends)))
    assert all(through == chunk * CHUNK for chunk, _, through in ends)
    assert [after[0] - before[0] for before, after in itertools.pairwise(ends)] == [3] * (len(ends) - 1)
    assert talker.turn_ended(0, ends[0][0] + 0.25) == (float(ends[0][0]), 0.25)
    assert talker.turn_ended(0, 99.0) is None


def test_sessions_do_not_end_their_turns_together() -> None:
    def first_end(number: int) -> int:
        talker = speaker(number, turn_chunks=8)
        return next(due for due in range(1, 10) if len(list(talker.speak(float(due)))) > 1)

    assert {first_end(number) for number in range(1, 30)} == set(range(1, 9))


@pytest.mark.parametrize("pcm", [b"\1\0", b"\1\0\2"])
def test_one_sample_is_recording_enough(pcm: bytes) -> None:
    assert next(speaker(pcm=pcm).speak(0.0)).audio.pcm == b"\1\0" * CHUNK
