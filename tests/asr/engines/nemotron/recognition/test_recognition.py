"""Words and turns from tokens: each word once, in order, in the turn that it began in."""

from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from streamstack_asr.engines.base import EngineEvent, Hypothesis, SessionConfig, SessionStart, TurnEnded
from streamstack_asr.engines.base import Final as FinalWords
from streamstack_asr.engines.nemotron.facts import FRAME_SAMPLES
from streamstack_asr.engines.nemotron.pieces import Piece, Pieces
from streamstack_asr.engines.nemotron.recognition.recognition import FLUSH_SAMPLES, Recognition
from streamstack_asr.engines.nemotron.recognition.tokens import Step, Token
from streamstack_asr.engines.nemotron.timing import Timing

MARK = 1
TAIL = 2
WORDS = 10
"""Tokens: a full stop, a second piece of any word, and from ten on a first piece for each word."""
PIECES = Pieces(
    {MARK: Piece(b".", is_punctuation=True), TAIL: Piece(b"x")}
    | {WORDS + number: Piece(f" w{number}".encode(), begins_word=True) for number in range(40)},
    tokenizer=None,
)
TIMING = Timing(start_delay_ms=160, end_delay_ms=160)
CONFIG = SessionConfig()


def begin(*, first: int = 0, turn_start: int | None = None) -> Recognition:
    start = SessionStart("s", "m", first, 0, first if turn_start is None else turn_start, CONFIG)
    return Recognition(start, pieces=PIECES, timing=TIMING)


def token(number: int, sample: int, log_probability: float = -0.1) -> Token:
    return Token(number, sample, log_probability)


class Listener:
    """Puts a session's turns together from final words alone, as a gateway does."""

    def __init__(self) -> None:
        self.turns: list[list[str]] = [[]]

    def hear(self, events: list[EngineEvent]) -> None:
        for event in events:
            if isinstance(event, TurnEnded):
                self.turns.append([])
            elif isinstance(event, Hypothesis | FinalWords):
                turn = self.turns[-1]
                assert event.turn_id == len(self.turns) - 1
                assert event.words_before <= len(turn)
                turn[event.words_before :] = [word.text for word in event.words if word.is_final]


def words_of(events: list[EngineEvent]) -> list[str]:
    (final,) = [event for event in events if isinstance(event, FinalWords)]
    return [word.text for word in final.words]


@dataclass(frozen=True)
class Spoken:
    """A word as it was said: from ``start`` to ``end``, in samples, with a second piece or none."""

    number: int
    start: int
    end: int
    has_tail: bool

    def emitted(self, *, until: int | None = None, shift: int = 0) -> list[Token]:
        """Its tokens when audio up to ``until`` was heard: two frames late, and ``shift`` more."""
        heard = [(WORDS + self.number, self.start)]
        if self.has_tail and (until is None or self.end <= until):
            heard.append((TAIL, self.end))
        late = 2 * FRAME_SAMPLES + shift
        return [token(number, _frame(at + late)) for number, at in heard]


def _frame(sample: int) -> int:
    return -(-sample // FRAME_SAMPLES) * FRAME_SAMPLES


@st.composite
def speech(draw: st.DrawFn) -> list[Spoken]:
    words, at = [], draw(st.integers(0, 20_000))
    for number in range(draw(st.integers(1, 12))):
        length = draw(st.integers(2_600, 9_000))
        words.append(Spoken(number, at, at + length, draw(st.booleans())))
        at += length + draw(st.sampled_from([0, 0, 800, 6_000, 25_000]))
    return words


class Decoder:
    """Stands for the model: emits what was said, step by step, and on a copy with silence behind a place."""

    def __init__(self, said: list[Spoken], chunk_frames: int) -> None:
        self.tokens = sorted((one for word in said for one in word.emitted()), key=lambda one: one.sample)
        self._said = said
        self._chunk = chunk_frames * FRAME_SAMPLES
        self.through = 0

    def step(self) -> Step:
        before, self.through = self.through, self.through + self._chunk
        found = tuple(one for one in self.tokens if before <= one.sample < self.through)
        return Step(self.through, found, (), (0.0,) * (self._chunk // 512))

    def flush(self, cut: int, wanted: int, shift: int) -> list[Token]:
        # The copy has the stream's predictor: what it said already it does not say again, and what it would have said
        # earlier it says now.
        said = {(word.number, one.token) for word in self._said for one in word.emitted() if one.sample < self.through}
        found = [
            one._replace(sample=max(one.sample, self.through))
            for word in self._said
            if word.start < cut - 640
            for one in word.emitted(until=cut, shift=shift)
            if (word.number, one.token) not in said
        ]
        return sorted((one for one in found if one.sample < wanted), key=lambda one: one.sample)


@settings(max_examples=200, deadline=None)
@given(said=speech(), chunk=st.sampled_from([1, 2, 4, 7]), data=st.data())
def test_no_word_is_lost_or_doubled_wherever_turns_end(said: list[Spoken], chunk: int, data: st.DataObject) -> None:
    decoder, recognition, listener = Decoder(said, chunk), begin(), Listener()
    length = said[-1].end + FLUSH_SAMPLES + 4 * FRAME_SAMPLES
    turn_id = cut = 0
    while decoder.through < length:
        listener.hear(recognition.step(decoder.step()))
        if data.draw(st.integers(0, 3)) == 0:
            pushed = decoder.through + data.draw(st.integers(0, chunk * FRAME_SAMPLES))
            cut = data.draw(st.integers(max(cut, decoder.through - 16_000), max(cut, pushed)))
            wanted = recognition.flush_through(cut)
            shift = data.draw(st.sampled_from([0, -FRAME_SAMPLES, FRAME_SAMPLES]))
            flushed = [] if wanted is None else decoder.flush(cut, wanted, shift)
            listener.hear(recognition.end_turn(turn_id, cut, flushed))
            turn_id += 1
    listener.hear(recognition.end_turn(turn_id, max(cut, length)))
    heard = [word.rstrip("x") for turn in listener.turns for word in turn]
    assert heard == [f"w{word.number}" for word in said]


@settings(max_examples=200, deadline=None)
@given(
    emitted=st.lists(
        st.tuples(st.sampled_from([MARK, TAIL, *range(WORDS, WORDS + 5)]), st.integers(0, 30)), max_size=40
    ),
    cuts=st.lists(st.integers(0, 31 * FRAME_SAMPLES), max_size=3),
)
def test_words_have_a_length_and_follow_each_other_whatever_was_emitted(
    emitted: list[tuple[int, int]], cuts: list[int]
) -> None:
    recognition = begin()
    events: list[EngineEvent] = []
    for frame in range(32):
        found = tuple(
            token(number, at * FRAME_SAMPLES) for number, at in sorted(emitted, key=lambda one: one[1]) if at == frame
        )
        events += recognition.step(Step((frame + 1) * FRAME_SAMPLES, found))
    for turn_id, cut in enumerate(sorted(cuts)):
        events += recognition.end_turn(turn_id, cut)
    events += recognition.end_turn(len(cuts), 32 * FRAME_SAMPLES)
    for event in events:
        if isinstance(event, Hypothesis | FinalWords):
            for before, word in zip((None, *event.words), event.words, strict=False):
                assert word.text
                assert word.end_sample > word.start_sample
                assert 0 <= word.confidence <= 1
                assert before is None or word.start_sample >= before.end_sample


@given(emitted=st.lists(st.tuples(st.sampled_from([TAIL, *range(WORDS, WORDS + 9)]), st.integers(0, 30)), max_size=30))
def test_words_only_ever_grow_at_the_end(emitted: list[tuple[int, int]]) -> None:
    recognition, finals = begin(), []
    for frame in range(32):
        found = tuple(token(number, at * FRAME_SAMPLES) for number, at in emitted if at == frame)
        for event in recognition.step(Step((frame + 1) * FRAME_SAMPLES, found)):
            assert isinstance(event, Hypothesis)
            assert event.words_before == len(finals)
            finals += [word for word in event.words if word.is_final]
            assert [word.is_final for word in event.words] == sorted(
                (word.is_final for word in event.words), reverse=True
            )
    (final, _) = recognition.end_turn(0, 32 * FRAME_SAMPLES)
    assert isinstance(final, FinalWords)
    assert final.words_before == len(finals)


def test_the_same_word_said_twice_stays_two_words() -> None:
    recognition = begin()
    recognition.step(Step(10_240, (token(WORDS, 5_120),)))
    wanted = recognition.flush_through(11_000)
    assert wanted == 11_000 + FLUSH_SAMPLES
    assert words_of(recognition.end_turn(0, 11_000, [])) == ["w0"]
    recognition.step(Step(20_480, (token(WORDS, 17_920),)))
    assert words_of(recognition.end_turn(1, 20_480)) == ["w0"]


def test_a_turn_that_ended_behind_the_decoder_gives_the_next_one_its_words_step_by_step() -> None:
    recognition, listener = begin(), Listener()
    for frame in range(20):
        found = {3: (token(WORDS, 3 * FRAME_SAMPLES),), 12: (token(WORDS + 1, 12 * FRAME_SAMPLES),)}.get(frame, ())
        listener.hear(recognition.step(Step((frame + 1) * FRAME_SAMPLES, found)))
    cut = 8 * FRAME_SAMPLES
    assert recognition.flush_through(cut) is None
    final, ended, *again = recognition.end_turn(0, cut)
    listener.hear([final, ended])
    assert listener.turns == [["w0"], []]
    assert ended == TurnEnded(0, cut)
    assert [(event.turn_id, event.through_sample) for event in again if isinstance(event, Hypothesis)] == [
        (1, (frame + 1) * FRAME_SAMPLES) for frame in range(8, 20)
    ]
    shown = [[word.text for word in event.words] for event in again if isinstance(event, Hypothesis)]
    assert shown == [[]] * 4 + [["w1"]] * 8


def test_words_of_the_context_before_the_turn_are_not_reported() -> None:
    recognition = begin(first=0, turn_start=6 * FRAME_SAMPLES)
    recognition.step(Step(10 * FRAME_SAMPLES, (token(WORDS, 4 * FRAME_SAMPLES), token(WORDS + 1, 9 * FRAME_SAMPLES))))
    assert words_of(recognition.end_turn(0, 10 * FRAME_SAMPLES)) == ["w1"]


def test_a_mark_joins_the_word_before_it_and_does_not_lengthen_it() -> None:
    recognition = begin()
    recognition.step(Step(30 * FRAME_SAMPLES, (token(WORDS, 3 * FRAME_SAMPLES), token(MARK, 20 * FRAME_SAMPLES))))
    (final, _) = recognition.end_turn(0, 30 * FRAME_SAMPLES)
    assert isinstance(final, FinalWords)
    (word,) = final.words
    assert word.text == "w0."
    assert word.end_sample < 5 * FRAME_SAMPLES


def test_speech_is_told_by_window_and_by_step() -> None:
    (told,) = begin().step(Step(2_048, (), (), (0.1, 0.9, 0.3, 0.2)))
    assert isinstance(told, Hypothesis)
    assert (told.speech_probability, told.speech_profile) == (0.9, (0.1, 0.9, 0.3, 0.2))


def test_a_detected_language_is_reported_and_not_written() -> None:
    pieces = Pieces({1: Piece(b"", language="de-DE"), 2: Piece(b" ja", begins_word=True)}, tokenizer=None)
    recognition = Recognition(SessionStart("s", "m", 0, 0, 0, CONFIG), pieces=pieces, timing=Timing())
    (told,) = recognition.step(Step(2_560, (token(1, 0, 0.0), token(2, 0))))
    assert isinstance(told, Hypothesis)
    assert [word.text for word in told.words] == ["ja"]
    assert (told.language, told.language_confidence) == ("de-DE", 1.0)
