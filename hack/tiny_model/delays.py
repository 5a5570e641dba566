"""How long after a word its pieces come, by lookahead: measured, written as timing.json, and what is left of the error.

    PYTHONPATH=hack python -m tiny_model.delays tests/fixtures/models/tiny

Words of voices that were kept from training, one behind the other at known places, through the slots of the engine.
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np

from streamstack_asr.engines.nemotron import timing
from streamstack_asr.engines.nemotron.facts import FRAME_SAMPLES, SAMPLE_RATE
from streamstack_asr.engines.nemotron.pieces import Pieces
from tiny_model.hearing import LOOKAHEADS, SLOTS, Heard, Listener, hear
from tiny_model.held_out import Placed, placed_words


class Pair(NamedTuple):
    """When a piece was emitted, and when the word began or ended; ms."""

    emitted: int
    spoken: int


def spans(heard: Sequence[Heard], pieces: Pieces) -> list[tuple[str, int, int]]:
    """Words with the centres of the frames of their first and last piece, in samples."""
    found: list[tuple[str, int, int]] = []
    for token, sample, _ in heard:
        piece = pieces.piece(token)
        text = piece.text.decode().strip()
        if piece.begins_word or not found:
            found.append((text, sample, sample))
        else:
            before, first, _ = found[-1]
            found[-1] = (before + text, first if before else sample, sample)
    return found


def pairs(heard: Sequence[Heard], places: Sequence[Placed], pieces: Pieces) -> Iterator[tuple[Pair, Pair]]:
    """Starts and ends of a clip's words; none of a clip that was not heard right, whose words could be others."""
    found = spans(heard, pieces)
    if [text for text, _, _ in found] != [place.word for place in places]:
        return
    for (_, first, last), place in zip(found, places, strict=True):
        yield (
            Pair(_ms(first), _ms(place.start)),
            # Half a frame beyond its centre: where a word without a delay ends (recognition.words).
            Pair(_ms(last + FRAME_SAMPLES // 2), _ms(place.end)),
        )


def _ms(samples: int) -> int:
    return samples * 1000 // SAMPLE_RATE


def _left(measured: Sequence[Pair], delay_ms: int) -> str:
    errors = [abs(pair.emitted - pair.spoken - delay_ms) for pair in measured]
    return (
        f"delay {delay_ms:4d} ms, then off by {median(errors):3.0f} ms (p50), {np.quantile(errors, 0.9):3.0f} ms (p90)"
    )


def main() -> None:
    """Measure every lookahead and write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--clips", type=int, default=60, help="of six words")
    given = parser.parse_args()
    listener = Listener(given.model, precision="fp32", steps_ms=list(LOOKAHEADS))
    pieces = Pieces.load(given.model)
    placed = list(placed_words(given.clips))
    timings = {}
    for step_ms, lookahead in LOOKAHEADS.items():
        heard = hear(listener.model, [clip.samples for clip, _ in placed], lookahead=lookahead, slots=SLOTS)
        both = [pair for one, (_, places) in zip(heard, placed, strict=True) for pair in pairs(one, places, pieces)]
        starts, ends = [start for start, _ in both], [end for _, end in both]
        timings[lookahead] = found = timing.calibrated(starts, ends)
        print(f"{step_ms:4d} ms, {len(both)} words")
        print(f"  start {_left(starts, found.start_delay_ms)}\n  end   {_left(ends, found.end_delay_ms)}", flush=True)
    timing.write(given.model, timings)


if __name__ == "__main__":
    main()
