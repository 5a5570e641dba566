from hypothesis import given
from hypothesis import strategies as st

from streamstack_asr.engines.base import (
    EngineEvent,
    Final,
    Hypothesis,
    SessionConfig,
    SessionStart,
    TurnEnded,
    Word,
)
from streamstack_asr.engines.options import EngineOptions
from streamstack_asr.engines.scripted import create
from streamstack_asr.engines.scripted.session import ScriptedSession
from support.scripted_audio import script


class Heard:
    """A session and everything it said."""

    def __init__(self, *, first_sample: int = 0, turn_start_sample: int | None = None) -> None:
        self.events: list[EngineEvent] = []
        turn_start = first_sample if turn_start_sample is None else turn_start_sample
        start = SessionStart("s", "m", first_sample, 0, turn_start, SessionConfig())
        self.session = ScriptedSession(start, self.events.append)

    @property
    def hypotheses(self) -> list[Hypothesis]:
        return [event for event in self.events if isinstance(event, Hypothesis)]

    def turns(self) -> dict[int, list[Word]]:
        turns: dict[int, list[Word]] = {}
        for event in self.events:
            if isinstance(event, Hypothesis | Final):
                finals = [word for word in turns.get(event.turn_id, []) if word.is_final]
                # A turn may end before words that were decoded already; the next turn has them.
                beyond = finals[event.words_before :]
                assert len(finals) >= event.words_before
                assert not beyond or isinstance(event, Final)
                turns[event.turn_id] = finals[: event.words_before] + list(event.words)
        return turns

    def texts(self) -> list[str]:
        return [" ".join(word.text for word in words) for _, words in sorted(self.turns().items())]


def test_a_word_is_tentative_letter_by_letter_and_final_once_the_next_block_came() -> None:
    made = script("abcd", lead_ms=40, tail_ms=40)
    heard = Heard()
    heard.session.push(made.pcm)
    assert [[(w.text, w.is_final) for w in h.words] for h in heard.hypotheses] == [
        [],
        [("ab", False)],
        [("abcd", False)],
        [("abcd", True)],
    ]
    assert [h.stable_through_sample for h in heard.hypotheses] == [640, 640, 640, made.samples]


def test_silence_and_speech_are_told_apart_and_silence_is_counted() -> None:
    made = script("ab", lead_ms=40, tail_ms=120)
    heard = Heard()
    heard.session.push(made.pcm)
    assert [h.speech_probability for h in heard.hypotheses] == [0, 1, 0, 0, 0]
    assert [h.trailing_silence_ms for h in heard.hypotheses] == [40, 0, 40, 80, 120]


def test_loud_samples_are_speech_without_a_word() -> None:
    heard = Heard()
    heard.session.push((3000).to_bytes(2, "little") * 640)
    assert [(h.speech_probability, h.words, h.trailing_silence_ms) for h in heard.hypotheses] == [(1.0, (), 0)]


def test_words_before_the_turn_start_are_context() -> None:
    made = script("one two three")
    heard = Heard(turn_start_sample=made.words[1].start_sample)
    heard.session.push(made.pcm)
    assert heard.texts() == ["two three"]


@given(st.integers(0, 40 * 320))
def test_a_session_that_begins_anywhere_reports_the_words_that_begin_after_it(cut: int) -> None:
    made = script("alpha beta gamma", tail_ms=200)
    cut = min(cut, made.samples)
    heard = Heard(first_sample=cut)
    heard.session.push(made.pcm[2 * cut :])
    heard.session.end_turn(0, made.samples)
    assert heard.texts() == [" ".join(word.text for word in made.words if word.start_sample >= cut)]
    assert all(word.start_sample >= cut for word in heard.turns()[0])


@given(st.integers(0, 100), st.integers(1, 8000))
def test_where_a_turn_ends_does_not_depend_on_how_far_decoding_went(percent: int, ahead: int) -> None:
    made = script("alpha beta gamma delta")
    # In a pause, where a gateway ends turns; the pieces after it may or may not have been decoded already.
    ends = [word.end_sample + 30 for word in made.words]
    through = ends[percent * (len(ends) - 1) // 100]
    late, early = Heard(), Heard()
    late.session.push(made.pcm[: 2 * (through + ahead)])
    late.session.end_turn(0, through)
    late.session.push(made.pcm[2 * (through + ahead) :])
    early.session.push(made.pcm[: 2 * through])
    early.session.end_turn(0, through)
    early.session.push(made.pcm[2 * through :])
    for heard in (late, early):
        heard.session.end_turn(1, made.samples)
        first = [word.text for word in made.words if word.start_sample < through]
        rest = [word.text for word in made.words if word.start_sample >= through]
        assert heard.texts() == [" ".join(first), " ".join(rest)]


def test_a_word_open_at_the_end_of_a_turn_is_completed_with_its_letters_so_far_and_its_tail_is_dropped() -> None:
    made = script("abcdef next", lead_ms=40)
    through = 640 + 3 * 320
    heard = Heard()
    heard.session.push(made.pcm[: 2 * through])
    heard.session.end_turn(0, through)
    heard.session.push(made.pcm[2 * through :])
    heard.session.end_turn(1, made.samples)
    assert heard.texts() == ["abc", "next"]


def test_the_end_of_a_turn_is_marked_after_its_last_words() -> None:
    made = script("ab", lead_ms=40)
    heard = Heard()
    heard.session.push(made.pcm)
    heard.session.end_turn(0, made.samples)
    assert heard.events[-2:] == [Final(0, 1, ()), TurnEnded(0, made.samples)]


def test_a_closed_session_says_nothing() -> None:
    heard = Heard()
    heard.session.close()
    heard.session.close()
    heard.session.push(script("ab").pcm)
    heard.session.end_turn(0, 0)
    assert heard.events == []


@given(st.integers(0, 100))
def test_a_replay_from_the_stable_position_less_the_context_continues_without_a_seam(step: int) -> None:
    made = script("alphabetical order of everything", tail_ms=200)
    first = Heard()
    pushed = min(step * 640, made.samples)
    first.session.push(made.pcm[: 2 * pushed])
    stable = first.hypotheses[-1].stable_through_sample if first.hypotheses else 0
    kept = [word for word in first.turns().get(0, []) if word.start_sample < stable]
    assert all(word.is_final for word in kept)
    begin = max(0, stable - 16 * 200)
    second = Heard(first_sample=begin, turn_start_sample=stable)
    second.session.push(made.pcm[2 * begin :])
    second.session.end_turn(0, made.samples)
    assert " ".join([word.text for word in kept] + second.texts()).strip() == made.text


def test_after_the_end_of_a_turn_the_next_ones_hypotheses_begin_there_step_by_step() -> None:
    made = script("abcd ef", lead_ms=40, gap_ms=60, tail_ms=200)
    heard = Heard()
    heard.session.push(made.pcm)
    through = made.words[0].end_sample + 320
    before = [h for h in heard.hypotheses if h.through_sample > through]
    heard.session.end_turn(0, through)
    again = heard.hypotheses[-len(before) :]
    assert [h.through_sample for h in again] == [h.through_sample for h in before]
    assert {h.turn_id for h in again} == {1}
    assert [h.trailing_silence_ms for h in again] == [h.trailing_silence_ms for h in before]
    assert [h.speech_probability for h in again] == [h.speech_probability for h in before]
    assert [w.text for w in heard.turns()[1]] == ["ef"]
    assert sum(len(h.words) for h in again if h.words and h.words[0].is_final) == 1


async def test_a_whole_recording_is_one_turn() -> None:
    made = script("one two three", tail_ms=20)
    transcript = await create(EngineOptions(models=("m",))).transcribe(made.pcm, SessionConfig())
    assert [(w.text, w.start_sample, w.end_sample) for w in transcript.words] == [
        (w.text, w.start_sample, w.end_sample) for w in made.words
    ]
