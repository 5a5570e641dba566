"""One scripted session: markers in, words out, every irregularity of the samples a word of its own.

``[skip+5]``: five blocks are missing; ``[repeat-5]``: five came again; ``[slip-160]``: 160 samples are missing inside a
block, ``[slip+160]``: that many were added. Neither offsets nor a clock are consulted: replaying the wrong bytes gives
the wrong words.
"""

from typing import Final, NamedTuple

from streamstack_asr.engines.base import Emit, Hypothesis, SessionConfig, SessionStart, TurnEnded, Word
from streamstack_asr.engines.base import Final as FinalWords
from streamstack_asr.engines.scripted.markers import BLOCK_SAMPLES, Block, Decoder, Kind, Sound
from streamstack_common.contracts.rpc import BYTES_PER_SAMPLE, ms_to_samples, samples_to_ms

CHUNK_MS: Final = 40
CHUNK_BYTES: Final = ms_to_samples(CHUNK_MS) * BYTES_PER_SAMPLE
CONFIDENCE: Final = 0.99


class _Spelling:
    """A word whose end has not been seen: its letters and where each one's block began."""

    __slots__ = ("letters", "start")

    def __init__(self, start: int, position: int, letter: str) -> None:
        self.start = start
        self.letters = [(position, letter)]

    def word(self, *, before: int | None, final: bool) -> Word:
        """Make the word of the blocks that begin before ``before`` (None: of all); it ends there at the latest."""
        letters = [entry for entry in self.letters if before is None or entry[0] < before]
        end = letters[-1][0] + BLOCK_SAMPLES
        return Word("".join(letter for _, letter in letters), self.start, end, CONFIDENCE, final)


class _Step(NamedTuple):
    """What a step left behind, kept until the turn ends: the next turn's hypotheses begin where it ended."""

    through: int
    finished: int
    tentative: Word | None
    speech: bool
    speech_end: int


class ScriptedSession:
    """See the module; steps of 40 ms are counted from the session's first sample."""

    __slots__ = (
        "_base",
        "_buffer",
        "_decoder",
        "_emit",
        "_fed",
        "_finished",
        "_last_block",
        "_sent",
        "_speech_end",
        "_speech_in_step",
        "_spelling",
        "_steps",
        "_tail_of_earlier",
        "_turn_id",
        "_turn_start",
    )

    def __init__(self, start: SessionStart, emit: Emit) -> None:
        self._emit: Emit | None = emit
        self._base = start.first_sample
        self._turn_id = start.turn_id
        self._turn_start = start.turn_start_sample
        self._decoder = Decoder()
        self._buffer = b""
        self._fed = start.first_sample
        self._last_block: Block | None = None
        self._spelling: _Spelling | None = None
        # Letters without a first letter belong to a word that began before this session, or in a turn already ended.
        self._tail_of_earlier = True
        self._finished: list[Word] = []
        self._sent = 0
        self._steps: list[_Step] = []
        self._speech_end = start.first_sample
        self._speech_in_step = False

    def push(self, pcm: bytes) -> None:
        """Read every whole chunk; one Hypothesis each."""
        data = self._buffer + pcm
        at = 0
        while len(data) - at >= CHUNK_BYTES and self._emit is not None:
            self._read(data[at : at + CHUNK_BYTES])
            at += CHUNK_BYTES
            self._steps.append(self._step())
            self._emit(self._hypothesis(self._steps[-1]))
        self._buffer = data[at:]

    def end_turn(self, turn_id: int, through_sample: int) -> None:
        """Read up to ``through_sample``, then complete the turn; a word open there ends with the letters before it."""
        emit = self._emit
        if emit is None:
            return
        missing = (through_sample - self._fed) * BYTES_PER_SAMPLE
        if missing > 0:
            self._read(self._buffer[:missing])
            self._buffer = self._buffer[missing:]
        spelling = self._spelling
        if spelling is not None and spelling.start < through_sample:
            self._finish(before=through_sample)
            self._tail_of_earlier = True
        ours = [word for word in self._finished if word.start_sample < through_sample]
        before = min(self._sent, len(ours))
        emit(FinalWords(turn_id, before, tuple(ours[before:])))
        emit(TurnEnded(turn_id, through_sample))
        self._finished = self._finished[len(ours) :]
        self._sent = 0
        self._turn_id = turn_id + 1
        self._turn_start = max(self._turn_start, through_sample)
        self._steps = [
            _behind(step, through_sample, len(ours)) for step in self._steps if step.through > through_sample
        ]
        for step in self._steps:
            emit(self._hypothesis(step))

    def update(self, config: SessionConfig) -> None:
        """Nothing here can be configured."""

    def close(self) -> None:
        """Say nothing from here on."""
        self._emit = None

    def _read(self, pcm: bytes) -> None:
        self._fed += len(pcm) // BYTES_PER_SAMPLE
        self._speech_in_step = False
        for item in self._decoder.feed(pcm):
            if isinstance(item, Sound):
                self._speech_in_step = True
                self._speech_end = max(self._speech_end, self._base + item.end)
            else:
                self._block(item)

    def _block(self, block: Block) -> None:
        position = self._base + block.position
        irregularity = _irregularity(self._last_block, block)
        self._last_block = block
        if block.kind is Kind.LETTER and self._spelling is not None and irregularity is None:
            self._spelling.letters.append((position, block.letter))
        else:
            self._finish(before=None, latest_end=position)
            word_start = position
            if irregularity is not None:
                self._report(Word(irregularity, position, position + 1, CONFIDENCE, True))
                word_start = position + 1
            orphan = block.kind is Kind.LETTER and self._tail_of_earlier and irregularity is None
            if block.kind is not Kind.SILENCE and not orphan:
                self._spelling = _Spelling(word_start, position, block.letter)
            self._tail_of_earlier = orphan
        if block.kind is not Kind.SILENCE:
            self._speech_in_step = True
            self._speech_end = max(self._speech_end, position + BLOCK_SAMPLES)

    def _finish(self, *, before: int | None, latest_end: int | None = None) -> None:
        if self._spelling is None:
            return
        word = self._spelling.word(before=before, final=True)
        self._spelling = None
        if latest_end is not None and word.end_sample > latest_end:
            word = Word(word.text, word.start_sample, latest_end, word.confidence, True)
        self._report(word)

    def _report(self, word: Word) -> None:
        if word.start_sample >= self._turn_start:
            self._finished.append(word)

    def _step(self) -> _Step:
        through = self._base + self._decoder.position
        spelling = self._spelling
        shown = spelling is not None and spelling.start >= self._turn_start
        tentative = spelling.word(before=None, final=False) if spelling is not None and shown else None
        return _Step(through, len(self._finished), tentative, self._speech_in_step, self._speech_end)

    def _hypothesis(self, step: _Step) -> Hypothesis:
        words = self._finished[self._sent : step.finished]
        before, self._sent = self._sent, step.finished
        if step.tentative is not None:
            words.append(step.tentative)
        return Hypothesis(
            turn_id=self._turn_id,
            through_sample=step.through,
            stable_through_sample=step.through if step.tentative is None else step.tentative.start_sample,
            words_before=before,
            words=tuple(words),
            speech_probability=1.0 if step.speech else 0.0,
            trailing_silence_ms=samples_to_ms(max(0, step.through - step.speech_end)),
        )


def _behind(step: _Step, through_sample: int, ended: int) -> _Step:
    """The step as the next turn sees it, after ``ended`` words of this one."""
    tentative = step.tentative
    if tentative is not None and tentative.start_sample < through_sample:
        tentative = None
    return step._replace(finished=max(0, step.finished - ended), tentative=tentative)


def _irregularity(last: Block | None, block: Block) -> str | None:
    """What is wrong between two neighbouring blocks; None when nothing is.

    Consecutive blocks two block lengths or more apart are fine: unmarked audio may lie between them.
    """
    if last is None:
        return None
    jump = block.number - (last.number + 1)
    if jump:
        return f"[skip+{jump}]" if jump > 0 else f"[repeat{jump}]"
    slip = block.position - last.position - BLOCK_SAMPLES
    return f"[slip{slip:+d}]" if slip and slip < BLOCK_SAMPLES else None
