from collections.abc import Callable
from itertools import pairwise

import pytest

from streamstack_asr.engines.sphinx.decoder import Decoder
from streamstack_asr.engines.sphinx.recognition import Recognition
from support.sphinx_hearing import Clip, Heard, read_clips, run, samples, session_start, silence

Hear = Callable[..., Heard]
CARDS = read_clips("cards")
LIBRIVOX = read_clips("librivox")
TEN_OF_CLUBS, SEVEN_OF_CLUBS = CARDS[0], CARDS[2]


@pytest.fixture(scope="module")
def heard_clips(hear: Hear) -> dict[str, Heard]:
    return {clip.name: hear(clip.pcm) for clip in (*CARDS, *LIBRIVOX)}


def word_errors(said: list[str], heard: list[str]) -> int:
    row = list(range(len(heard) + 1))
    for i, one in enumerate(said, 1):
        above, row = row, [i]
        for j, other in enumerate(heard, 1):
            row.append(min(above[j] + 1, row[-1] + 1, above[j - 1] + (one != other)))
    return row[-1]


@pytest.mark.parametrize(("clips", "bound"), [(CARDS, 0.25), (LIBRIVOX, 0.45)], ids=["cards", "librivox"])
def test_recorded_speech_is_understood(clips: tuple[Clip, ...], bound: float, heard_clips: dict[str, Heard]) -> None:
    errors = sum(word_errors(clip.text.split(), heard_clips[clip.name].text(1).split()) for clip in clips)
    assert errors / sum(len(clip.text.split()) for clip in clips) < bound


@pytest.mark.parametrize("clip", [*CARDS, *LIBRIVOX], ids=lambda clip: clip.name[-4:])
def test_words_are_ordered_and_lie_within_the_audio(clip: Clip, heard_clips: dict[str, Heard]) -> None:
    words = heard_clips[clip.name].turns[1]
    assert all(one.end_sample <= other.start_sample for one, other in pairwise(words))
    assert all(0 <= word.start_sample < word.end_sample <= samples(clip.pcm) for word in words)
    assert all(word.end_sample - word.start_sample < 2 * 16_000 for word in words)
    assert all(0 < word.confidence <= 1 and word.is_final for word in words)
    assert all(word.text.replace("'", "").replace(".", "").replace("-", "").isalpha() for word in words)


@pytest.mark.parametrize("clip", [*CARDS, *LIBRIVOX], ids=lambda clip: clip.name[-4:])
def test_hypotheses_come_with_every_step_and_never_step_back(clip: Clip, heard_clips: dict[str, Heard]) -> None:
    hypotheses = heard_clips[clip.name].hypotheses()
    assert all(0 <= b.through_sample - a.through_sample <= 1_600 for a, b in pairwise(hypotheses))
    assert all(a.stable_through_sample <= b.stable_through_sample for a, b in pairwise(hypotheses))
    assert all(a.words_before <= b.words_before for a, b in pairwise(hypotheses))
    for hypothesis in hypotheses:
        assert hypothesis.stable_through_sample <= hypothesis.through_sample
        finals = [word.is_final for word in hypothesis.words]
        assert finals == sorted(finals, reverse=True)
        assert all(a.end_sample <= b.start_sample for a, b in pairwise(hypothesis.words))


def test_words_show_while_the_sentence_goes_on_and_become_final_before_its_end(heard_clips: dict[str, Heard]) -> None:
    for clip in LIBRIVOX:
        hypotheses = heard_clips[clip.name].hypotheses()
        middle = next(h for h in hypotheses if h.through_sample >= samples(clip.pcm) // 2)
        assert middle.words_before + len(middle.words) >= len(clip.text.split()) // 4
        assert hypotheses[-1].words_before > 0
        assert hypotheses[-1].stable_through_sample > 0


@pytest.mark.parametrize("milliseconds", [10, 1_000])
def test_the_size_of_the_pieces_changes_nothing(milliseconds: int, hear: Hear, heard_clips: dict[str, Heard]) -> None:
    for clip in (CARDS[4], LIBRIVOX[1]):
        assert hear(clip.pcm, milliseconds=milliseconds).events == heard_clips[clip.name].events


def test_a_session_knows_nothing_of_the_one_before_it(hear: Hear, heard_clips: dict[str, Heard]) -> None:
    hear(LIBRIVOX[4].pcm)
    assert hear(TEN_OF_CLUBS.pcm).events == heard_clips[TEN_OF_CLUBS.name].events


def test_positions_are_those_of_the_session_clock(hear: Hear, heard_clips: dict[str, Heard]) -> None:
    shift = 123_457
    shifted = hear(TEN_OF_CLUBS.pcm, first_sample=shift).turns[1]
    plain = heard_clips[TEN_OF_CLUBS.name].turns[1]
    assert [(w.text, w.start_sample - shift, w.end_sample - shift) for w in shifted] == [
        (w.text, w.start_sample, w.end_sample) for w in plain
    ]


def test_words_of_the_context_are_not_reported(hear: Hear, heard_clips: dict[str, Heard]) -> None:
    first, *others = heard_clips[SEVEN_OF_CLUBS.name].turns[1]
    cut = (first.end_sample + others[0].start_sample) // 2
    heard = hear(SEVEN_OF_CLUBS.pcm, turn_start_sample=cut)
    assert heard.text(1) == " ".join(word.text for word in others)
    assert all(word.start_sample >= cut for hypothesis in heard.hypotheses() for word in hypothesis.words)


@pytest.mark.parametrize("decode_first", [True, False], ids=["decoding ahead", "decoding behind"])
def test_the_end_of_a_turn_parts_words_wherever_decoding_stands(decode_first: bool, decoder: Decoder) -> None:
    pause = silence(900)
    pcm = SEVEN_OF_CLUBS.pcm + pause + TEN_OF_CLUBS.pcm + pause
    through = samples(SEVEN_OF_CLUBS.pcm) + samples(pause) // 2
    recognition, heard = Recognition(session_start(), decoder), Heard()
    recognition.push(pcm)
    if decode_first:
        run(recognition, heard)
    recognition.end_turn(1, through)
    recognition.end_turn(2, samples(pcm))
    run(recognition, heard)
    recognition.release()
    assert heard.text(1) == SEVEN_OF_CLUBS.text
    assert heard.text(2) == TEN_OF_CLUBS.text
    assert all(word.start_sample < through for word in heard.turns[1])
    assert all(word.start_sample >= through for word in heard.turns[2])
    assert [(e.turn_id, e.through_sample) for e in heard.ended] == [(1, through), (2, samples(pcm))]


def test_the_next_turn_is_told_step_by_step_from_its_start_also_where_decoding_had_been(decoder: Decoder) -> None:
    pause = silence(900)
    pcm = SEVEN_OF_CLUBS.pcm + pause + TEN_OF_CLUBS.pcm + pause
    through = samples(SEVEN_OF_CLUBS.pcm) + samples(pause) // 2
    recognition, heard = Recognition(session_start(), decoder), Heard()
    recognition.push(pcm)
    run(recognition, heard)
    recognition.end_turn(1, through)
    run(recognition, heard)
    recognition.release()
    again = heard.hypotheses(2)
    assert 0 < again[0].through_sample - through <= 1_600
    assert all(0 <= b.through_sample - a.through_sample <= 1_600 for a, b in pairwise(again))
    assert samples(pcm) - again[-1].through_sample < 1_600
    # Speech is found where it is, then silence: what the gateway ends the turn by.
    assert max(hypothesis.speech_probability for hypothesis in again) > 0.5
    assert again[-1].speech_probability < 0.5
    assert again[-1].trailing_silence_ms > 400


def test_an_empty_turn_ends_without_words(decoder: Decoder) -> None:
    recognition, heard = Recognition(session_start(), decoder), Heard()
    recognition.end_turn(1, 0)
    recognition.push(TEN_OF_CLUBS.pcm)
    recognition.end_turn(2, samples(TEN_OF_CLUBS.pcm))
    run(recognition, heard)
    recognition.release()
    assert heard.turns[1] == []
    assert heard.text(2) == TEN_OF_CLUBS.text


def test_a_long_silence_moves_the_stable_point_and_costs_the_next_words_nothing(decoder: Decoder) -> None:
    quiet = silence(20_000)
    recognition, heard = Recognition(session_start(), decoder), Heard()
    recognition.push(quiet)
    run(recognition, heard)
    last = heard.hypotheses()[-1]
    assert last.words == ()
    assert last.speech_probability < 0.5
    assert last.trailing_silence_ms == last.through_sample // 16
    assert last.stable_through_sample >= last.through_sample - 16_000
    recognition.push(TEN_OF_CLUBS.pcm)
    recognition.end_turn(1, samples(quiet) + samples(TEN_OF_CLUBS.pcm))
    run(recognition, heard)
    recognition.release()
    assert heard.text(1) == TEN_OF_CLUBS.text
    assert heard.turns[1][0].start_sample >= samples(quiet) - 1_600


def test_speech_is_probable_while_somebody_speaks(heard_clips: dict[str, Heard]) -> None:
    hypotheses = heard_clips[LIBRIVOX[0].name].hypotheses()
    probable = sum(hypothesis.speech_probability > 0.9 for hypothesis in hypotheses)
    assert probable > 0.7 * len(hypotheses)


def test_trailing_silence_grows_behind_the_last_word(hear: Hear) -> None:
    heard = hear(TEN_OF_CLUBS.pcm + silence(2_000))
    assert heard.hypotheses()[-1].trailing_silence_ms >= 1_500
    assert heard.turns[1][-1].end_sample <= samples(TEN_OF_CLUBS.pcm) + 1_600


@pytest.mark.parametrize("late", [False, True], ids=["in time", "after two more seconds"])
def test_turns_ended_in_the_middle_of_words_share_no_word(late: bool, decoder: Decoder) -> None:
    pcm = b"".join(clip.pcm for clip in CARDS[2:])
    ends = list(range(9_001, samples(pcm), 17_777))
    recognition, heard = Recognition(session_start(), decoder), Heard()
    pushed = 0
    for turn_id, end in enumerate(ends, 1):
        target = min(end + 32_000 if late else end, samples(pcm))
        recognition.push(pcm[2 * pushed : 2 * target])
        pushed = max(pushed, target)
        run(recognition, heard)
        recognition.end_turn(turn_id, end)
        run(recognition, heard)
    recognition.release()
    assert [event.through_sample for event in heard.ended] == ends
    for turn_id, (begin, end) in enumerate(pairwise([0, *ends]), 1):
        assert all(begin <= word.start_sample < end for word in heard.turns[turn_id])
    words = [word for turn_id in range(1, len(ends) + 1) for word in heard.turns[turn_id]]
    assert all(one.end_sample <= other.start_sample for one, other in pairwise(words))
    said = " ".join(clip.text for clip in CARDS[2:]).split()
    assert word_errors(said, [word.text for word in words]) <= len(said) // 2
