from collections import defaultdict
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamstack_asr.engines.base import (
    EngineEvent,
    Failed,
    Final,
    Hypothesis,
    SessionConfig,
    SessionStart,
    TurnEnded,
)
from streamstack_asr.engines.nemotron.worker.desk import Desk
from support.fake_slots import FLUSH_SAMPLES, FRAME, FakeMachinery, FakeModel, marked

FIRST = 4_000
"""Where sessions begin on their clocks."""


@dataclass
class Bench:
    """A desk with a fake model, at a time that the test moves."""

    lookahead: int = 1
    slots: int = 4
    spare_slots: int = 2
    now_ms: float = 0.0
    step_ms: float = 10.0
    aside: Executor | None = None
    events: dict[int, list[EngineEvent]] = field(default_factory=lambda: defaultdict(list))

    def __post_init__(self) -> None:
        self.parts = FakeMachinery(FakeModel(self.slots, spare_slots=self.spare_slots))
        machinery = self.parts.made(slots=self.slots, lookaheads={"en": self.lookahead, "fast": 0})
        machinery = replace(machinery, aside=self.aside)
        self.desk = Desk(machinery, lambda number, event: self.events[number].append(event))

    @property
    def model(self) -> FakeModel:
        return self.parts.model

    def open(self, number: int, *, model: str = "en", config: SessionConfig | None = None) -> None:
        self.desk.open(number, SessionStart("", model, FIRST, 1, FIRST, config or SessionConfig()))

    def push(self, number: int, pcm: bytes) -> None:
        self.desk.push(number, pcm, self.now_ms)

    def end_turn(self, number: int, turn_id: int, through: int) -> None:
        """``through`` is counted from where the session began."""
        self.desk.end_turn(number, turn_id, FIRST + through, self.now_ms)

    def run(self, steps: int = 1_000) -> None:
        """Step for as long as there is something to do."""
        for _ in range(steps):
            due = self.desk.due_ms()
            if due is None:
                return
            self.now_ms = max(self.now_ms, due)
            self.desk.step(self.now_ms, self._over)

    def _over(self) -> float:
        self.now_ms += self.step_ms
        return self.now_ms

    def words(self, number: int) -> list[tuple[str, int]]:
        """Text and frame of every word, whichever turn it came in."""
        return [
            (word.text, (word.start_sample - FIRST) // FRAME)
            for event in self.events[number]
            if isinstance(event, Hypothesis | Final)
            for word in event.words
        ]

    def ended(self, number: int) -> list[int]:
        return [event.turn_id for event in self.events[number] if isinstance(event, TurnEnded)]


@given(
    st.sampled_from([0, 1, 3, 6]),
    st.lists(st.integers(1, 9), min_size=1, max_size=40),
    st.integers(1, 3_000),
)
def test_every_frame_is_heard_once_and_at_its_time_whatever_the_pieces(
    lookahead: int, frames: list[int], samples: int
) -> None:
    bench = Bench(lookahead=lookahead)
    bench.open(1)
    pcm = marked(frames)
    for offset in range(0, len(pcm), samples * 2):
        bench.push(1, pcm[offset : offset + samples * 2])
        bench.run()
    # A step of R + 1 frames is possible once there are 256 samples of its last one.
    heard = max(0, (len(frames) * FRAME - 256 - lookahead * FRAME) // (FRAME * (lookahead + 1)) + 1) * (lookahead + 1)
    assert bench.words(1) == [(f"w{value}", frame) for frame, value in enumerate(frames[:heard])]


def test_sessions_that_began_at_other_times_share_steps_and_hear_their_own() -> None:
    bench = Bench(lookahead=1)
    spoken = {1: [1] * 12, 2: [2] * 10, 3: [3] * 7}
    for number, frames in spoken.items():
        bench.open(number)
        bench.push(number, marked(frames))
        bench.run(1)
    bench.run()
    assert max(map(len, bench.model.batches)) == 3
    for number in spoken:
        assert {text for text, _ in bench.words(number)} == {f"w{number}"}
        assert [frame for _, frame in bench.words(number)] == list(range(len(bench.words(number))))


def test_lanes_of_other_chunks_are_stepped_apart_in_one_process() -> None:
    bench = Bench(lookahead=3)
    bench.open(1)
    bench.open(2, model="fast")
    for number in (1, 2):
        bench.push(number, marked([number] * 8))
    bench.run()
    assert all(len(batch) == 1 for batch in bench.model.batches)
    assert (len(bench.words(1)), len(bench.words(2))) == (8, 8)


def test_the_detector_hears_the_audio_of_each_step_once_and_no_flush() -> None:
    bench = Bench(lookahead=1)
    bench.open(1)
    bench.push(1, marked([1] * 6))
    bench.end_turn(1, 1, 6 * FRAME)
    bench.run()
    steps = bench.parts.recognisers[0].steps
    assert [round(step.speech[0] * 100_000) for step in steps] == [FRAME + 256, 2 * FRAME, 2 * FRAME]
    assert [step.through_sample - FIRST for step in steps] == [FRAME + 256, 3 * FRAME + 256, 5 * FRAME + 256]


def test_the_end_of_a_turn_is_decoded_on_a_copy_with_silence_behind_it() -> None:
    bench = Bench(lookahead=1)
    bench.open(1)
    bench.push(1, marked([1, 2, 3, 4], tail=FRAME + 700))
    bench.run()
    through = 4 * FRAME + 300
    assert bench.words(1) == [("w1", 0), ("w2", 1), ("w3", 2), ("w4", 3)]
    bench.push(1, b"\x09\x00" * 100)  # behind the end: it must not be heard as part of the turn
    bench.end_turn(1, 1, through)
    bench.run()
    assert bench.ended(1) == [1]
    copy = bench.model.slots[bench.model.batches[-1][0]]
    assert bench.model.batches[-1][0] >= bench.slots
    assert len(copy.heard) >= through + FLUSH_SAMPLES
    assert not any(copy.heard[through:])
    # The session's own slot goes on with real audio, where it was.
    heard_before = len(bench.model.slots[0].heard)
    bench.push(1, marked([5, 5, 5, 5, 5, 5]))
    bench.run()
    assert bench.model.slots[0].heard[heard_before:].count(9) == 100


def test_the_last_word_of_a_turn_does_not_wait_for_audio() -> None:
    bench = Bench(lookahead=6)
    bench.open(1)
    bench.push(1, marked([7, 0, 8]))
    bench.end_turn(1, 1, 3 * FRAME)
    bench.run()
    assert bench.words(1) == [("w7", 0), ("w8", 2)]
    assert bench.ended(1) == [1]


def test_real_audio_is_decoded_before_silence_is_made_up() -> None:
    bench = Bench(lookahead=1)
    bench.open(1)
    bench.push(1, marked([1] * 20))
    bench.end_turn(1, 1, 4 * FRAME)
    bench.run()
    assert bench.parts.recognisers[0].flushed == {1: ()}
    assert all(slot < bench.slots for batch in bench.model.batches for slot in batch)


def test_turns_that_end_together_end_in_order_each_on_a_copy_of_its_own() -> None:
    bench = Bench(lookahead=6)
    bench.open(1)
    bench.push(1, marked([1, 2, 3]))
    bench.end_turn(1, 1, FRAME)
    bench.end_turn(1, 2, 2 * FRAME)
    bench.end_turn(1, 3, 3 * FRAME)
    bench.run()
    flushed = bench.parts.recognisers[0].flushed
    assert {turn: [token.token for token in tokens] for turn, tokens in flushed.items()} == {
        1: [1],
        2: [1, 2],
        3: [1, 2, 3],
    }
    assert bench.ended(1) == [1, 2, 3]


def test_more_turns_end_at_once_than_there_are_copies_and_all_end() -> None:
    bench = Bench(lookahead=6, slots=9, spare_slots=2)
    for number in range(9):
        bench.open(number)
        bench.push(number, marked([number + 1]))
        bench.end_turn(number, 1, FRAME)
    bench.run()
    for number in range(9):
        assert bench.words(number) == [(f"w{number + 1}", 0)]
        assert bench.ended(number) == [1]
    assert max(map(len, bench.model.batches)) == 2


def test_a_session_that_closes_amid_its_flush_gives_its_slot_and_copy_back() -> None:
    bench = Bench(lookahead=6, slots=2, spare_slots=1)
    for number in (1, 2):
        bench.open(number)
        bench.push(number, marked([number]))
        bench.end_turn(number, 1, FRAME)
    bench.desk.close(1, bench.now_ms)
    bench.run()
    assert bench.events[1] == []
    assert bench.ended(2) == [1]
    bench.open(3)
    bench.push(3, marked([3]))
    bench.end_turn(3, 1, FRAME)
    bench.run()
    assert bench.words(3) == [("w3", 0)]


def test_a_detector_aside_hears_the_same() -> None:
    """On a GPU it works in a thread of its own while the model steps."""
    heard = []
    with ThreadPoolExecutor(1) as thread:
        for aside in (None, thread):
            bench = Bench(lookahead=1, aside=aside)
            for number in (1, 2):
                bench.open(number)
                bench.push(number, marked([number] * 7))
            bench.end_turn(1, 1, 7 * FRAME)
            bench.run()
            heard.append(dict(bench.events))
    assert heard[0] == heard[1]
    assert heard[0][1]


def test_a_slot_that_is_used_again_starts_afresh() -> None:
    bench = Bench(slots=1)
    bench.open(1, config=SessionConfig(keyterms=("ab",), language="en-GB"))
    bench.push(1, marked([1] * 3))
    bench.run()
    bench.desk.close(1, bench.now_ms)
    bench.open(2)
    assert bench.model.slots[0].heard == []
    assert (bench.model.slots[0].terms, bench.model.slots[0].prompt) == ((), None)


def test_a_session_too_many_fails_alone() -> None:
    bench = Bench(slots=1)
    bench.open(1)
    bench.open(2)
    assert isinstance(bench.events[2][0], Failed)
    bench.push(2, marked([1] * 9))
    bench.push(1, marked([1] * 9))
    bench.run()
    assert bench.words(1)
    assert len(bench.events[2]) == 1


def test_key_terms_and_language_reach_the_slot_and_can_change_in_mid_session() -> None:
    bench = Bench()
    bench.open(1, config=SessionConfig(keyterms=("ab",), language="de"))
    asked = [(bench.model.slots[0].terms, bench.model.slots[0].prompt)]
    bench.desk.update(1, SessionConfig(keyterms=("c",), language="de-DE"))
    asked.append((bench.model.slots[0].terms, bench.model.slots[0].prompt))
    assert asked == [(((97, 98),), 2), (((99,),), 5)]


def waits(bench: Bench, chunk_ms: int = 160) -> list[int]:
    counts: list[int] = bench.desk.report()["chunk_wait"][str(chunk_ms)][0]
    return counts


def test_a_chunk_waits_from_when_its_audio_is_whole() -> None:
    bench = Bench(lookahead=1)
    bench.open(1)
    bench.push(1, marked([1, 1]))
    bench.now_ms = 700.0
    bench.run()
    assert waits(bench)[-4] == 1  # between half a second and one
    bench.push(1, marked([1, 1]))
    bench.run()
    assert waits(bench)[0] == 1


def test_a_burst_is_due_at_real_time_so_that_a_replay_or_a_file_is_no_overload() -> None:
    bench = Bench(lookahead=1, step_ms=150.0)
    bench.open(1)
    bench.push(1, marked([1] * 100))
    bench.run()
    assert waits(bench)[0] == sum(waits(bench)) == 50
    slow = Bench(lookahead=1, step_ms=250.0)
    slow.open(1)
    slow.push(1, marked([1] * 100))
    slow.run()
    assert sum(waits(slow)[-3:]) > 0  # longer than a second, and the longer the more it falls behind


@pytest.mark.parametrize("step_ms", [10.0, 300.0])
def test_load_is_judged_by_live_sessions(step_ms: float) -> None:
    """Four sessions in real time, 160 ms a chunk: steps of 300 ms are too slow for them."""
    bench = Bench(lookahead=1, step_ms=step_ms)
    for number in range(4):
        bench.open(number)
    overload = bench.desk.load.overload
    for chunk in range(60):
        bench.now_ms = max(bench.now_ms, chunk * 160.0)
        for number in range(4):
            bench.desk.push(number, marked([1, 1]), chunk * 160.0)
        bench.run(1)
        overload.tick(bench.now_ms)
    assert overload.now is (step_ms > 160)
