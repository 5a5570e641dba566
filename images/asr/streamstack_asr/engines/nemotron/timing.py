"""When a word was spoken, by when its pieces were emitted.

An RNN-T emits a piece some frames after its sound; how many depends on the lookahead. A model folder may have a
``timing.json`` with what was measured; without it a word is taken to begin and end at the frames of its pieces.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

from streamstack_asr.engines.nemotron.facts import SAMPLE_RATE, Fields, read_object

TIMING: Final = "timing.json"
LARGEST_DELAY_MS: Final = 2_000


@dataclass(frozen=True, slots=True)
class Timing:
    """How much later the first and the last piece of a word are emitted than it begins and ends, in ms."""

    start_delay_ms: int = 0
    end_delay_ms: int = 0

    @property
    def start_delay_samples(self) -> int:
        """The delay of a word's first piece, at 16 kHz."""
        return self.start_delay_ms * SAMPLE_RATE // 1000

    @property
    def end_delay_samples(self) -> int:
        """The delay of a word's last piece, at 16 kHz."""
        return self.end_delay_ms * SAMPLE_RATE // 1000


def read(folder: Path, lookahead: int) -> Timing:
    """Return the timing of a lookahead (in frames); all zero where the folder has none. Raises ModelError."""
    path = folder / TIMING
    if not path.exists():
        return Timing()
    section = Fields(path, read_object(path)).section(str(lookahead))
    values = {}
    for name in ("start_delay_ms", "end_delay_ms"):
        found = section.value(name, 0)
        if not isinstance(found, int) or isinstance(found, bool) or abs(found) > LARGEST_DELAY_MS:
            raise section.wrong(name, found, f"ms from -{LARGEST_DELAY_MS} to {LARGEST_DELAY_MS}")
        values[name] = found
    return Timing(**values)


def calibrated(starts: Sequence[tuple[int, int]], ends: Sequence[tuple[int, int]]) -> Timing:
    """Return the timing that fits best: pairs of (when a piece was emitted, when the word began or ended), in ms.

    The median, so that a word heard late or wrong does not move the others.
    """
    return Timing(
        round(median(emitted - spoken for emitted, spoken in starts)),
        round(median(emitted - spoken for emitted, spoken in ends)),
    )


def write(folder: Path, timings: Mapping[int, Timing]) -> None:
    """Write the timing of each lookahead into a model folder."""
    content = {
        str(lookahead): {"start_delay_ms": timing.start_delay_ms, "end_delay_ms": timing.end_delay_ms}
        for lookahead, timing in sorted(timings.items())
    }
    (folder / TIMING).write_text(json.dumps(content, indent=2) + "\n")
