"""What the sphinx engine makes of the recorded clips: word errors, speed and latency, on one core.

Usage: sphinx_accuracy.py [--option NAME=VALUE ...]      (options of pocketsphinx, such as maxhmmpf=3000)

Each clip is a session of one turn, decoded in this process as a worker does it. Latency of a word: how far decoding
had got when the word, as it was in the end, first stood in a hypothesis, less the word's end, plus the time of that
step. Finalise: time from the end of a turn to its Final when all audio was decoded before, for a session's first turn
and for a later one. Times are processor time, so that what else the machine does does not count. The first two seconds
of a session are decoded twice, so short clips show a higher real-time factor than long sessions have.
"""

import argparse
import itertools
import os
import platform
import re
import time
import wave
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from streamstack_asr.engines.base import Final, Hypothesis, SessionConfig, SessionStart, Word
from streamstack_asr.engines.sphinx.decoder import SAMPLE_RATE, Decoder
from streamstack_asr.engines.sphinx.recognition import Recognition

RECORDINGS = Path(__file__).resolve().parents[2] / "tests/fixtures/recordings"
LINE = re.compile(r"<s> (?P<text>.*?)\s*</s> \((?P<name>.*)\)")
SAME_WORD_SAMPLES = 3_200


@dataclass
class Figures:
    """Sums over the clips of one folder; times in seconds."""

    errors: int = 0
    words: int = 0
    audio: float = 0.0
    busy: float = 0.0
    steps: list[float] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)
    finalise_first: list[float] = field(default_factory=list)
    finalise_later: list[float] = field(default_factory=list)
    rewritten: int = 0
    hypotheses: int = 0


def word_errors(said: Sequence[str], heard: Sequence[str]) -> int:
    row = list(range(len(heard) + 1))
    for i, one in enumerate(said, 1):
        above, row = row, [i]
        for j, other in enumerate(heard, 1):
            row.append(min(above[j] + 1, row[-1] + 1, above[j - 1] + (one != other)))
    return row[-1]


def percentile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)] if ordered else float("nan")


def clips(folder: str) -> list[tuple[list[str], bytes]]:
    found = []
    for line in (RECORDINGS / folder / "transcription").read_text().splitlines():
        match = LINE.fullmatch(line.strip())
        if match is None:
            raise SystemExit(f"{folder}/transcription: expected '<s> words </s> (name)', got {line!r}")
        with wave.open(str(RECORDINGS / folder / f"{match['name']}.wav")) as recording:
            found.append((match["text"].split(), recording.readframes(recording.getnframes())))
    return found


class Session:
    """Decodes a clip and takes the time of each step."""

    def __init__(self, decoder: Decoder) -> None:
        self._recognition = Recognition(SessionStart("", "", 0, 1, 0, SessionConfig()), decoder)
        self.steps: list[float] = []
        self.shown: list[tuple[Hypothesis, float, tuple[Word, ...]]] = []
        self.finals: list[Word] = []
        self.turns: list[list[Word]] = []
        self._position = 0

    def push(self, pcm: bytes) -> None:
        """Decode what follows."""
        self._recognition.push(pcm)
        self._position += len(pcm) // 2
        self._run()

    def end_turn(self) -> float:
        """End the turn with the audio pushed so far; seconds until its Final."""
        ended = len(self.turns)
        self._recognition.end_turn(ended + 1, self._position)
        began = time.process_time()
        while len(self.turns) == ended:
            self._step()
        took = time.process_time() - began
        self._run()
        return took

    def close(self) -> None:
        """Free the decoder for the next session."""
        self._recognition.release()

    def _run(self) -> None:
        while self._recognition.has_work:
            self._step()

    def _step(self) -> None:
        began = time.process_time()
        events = self._recognition.step()
        took = time.process_time() - began
        self.steps.append(took)
        for event in events:
            if isinstance(event, Hypothesis):
                words = (*self.finals[: event.words_before], *event.words)
                self.shown.append((event, took, words))
                self.finals += (word for word in event.words if word.is_final)
            elif isinstance(event, Final):
                self.turns.append([*self.finals[: event.words_before], *event.words])
                self.finals = []


def latencies(session: Session) -> list[float]:
    found = []
    for word in session.turns[0]:
        for hypothesis, took, shown in session.shown:
            if hypothesis.turn_id == 1 and any(
                one.text == word.text and abs(one.start_sample - word.start_sample) <= SAME_WORD_SAMPLES
                for one in shown
            ):
                found.append((hypothesis.through_sample - word.end_sample) / SAMPLE_RATE + took)
                break
    return found


def rewrites(session: Session) -> int:
    """Hypotheses that change a word the one before showed, other than its last."""
    count = 0
    shown = [[word.text for word in words] for hypothesis, _, words in session.shown if hypothesis.turn_id == 1]
    for before, after in itertools.pairwise(shown):
        count += after[: len(before) - 1] != before[:-1]
    return count


def measure(folder: str, decoder: Decoder) -> Figures:
    figures = Figures()
    for said, pcm in clips(folder):
        session = Session(decoder)
        session.push(pcm)
        figures.finalise_first.append(session.end_turn())
        figures.steps += session.steps
        figures.errors += word_errors(said, [word.text for word in session.turns[0]])
        figures.words += len(said)
        figures.audio += len(pcm) / 2 / SAMPLE_RATE
        figures.latencies += latencies(session)
        figures.rewritten += rewrites(session)
        figures.hypotheses += len(session.shown)
        session.push(pcm)
        figures.finalise_later.append(session.end_turn())
        session.close()
    figures.busy = sum(figures.steps)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--option", action="append", default=[], metavar="NAME=VALUE")
    options = dict(option.split("=", 1) for option in parser.parse_args().option)
    began = time.process_time()
    decoder = Decoder(**options)
    loaded = time.process_time() - began
    print(f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}; ", end="")
    print(f"decoder loaded in {loaded:.2f} s; load average {os.getloadavg()[0]:.1f}\n")
    print(f"{'clips':10}{'words':>7}{'WER':>8}{'RTF':>8}{'step p50/p95/max ms':>22}", end="")
    print(f"{'partial p50/p95 ms':>20}{'rewrites':>10}{'final 1st/later ms':>20}")
    for folder in ("librivox", "cards"):
        one = measure(folder, decoder)
        step = "/".join(f"{1e3 * percentile(one.steps, share):.0f}" for share in (0.5, 0.95, 1.0))
        partial = "/".join(f"{1e3 * percentile(one.latencies, share):.0f}" for share in (0.5, 0.95))
        final = "/".join(f"{1e3 * percentile(times, 0.5):.0f}" for times in (one.finalise_first, one.finalise_later))
        print(
            f"{folder:10}{one.words:7}{one.errors / one.words:8.1%}{one.busy / one.audio:8.3f}"
            f"{step:>22}{partial:>20}{one.rewritten / one.hypotheses:10.1%}{final:>20}"
        )


if __name__ == "__main__":
    main()
