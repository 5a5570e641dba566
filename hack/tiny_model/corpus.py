"""A folder of utterances: ``audio.i16`` (16 kHz samples, one after another) and ``index.jsonl``, a line for each.

    PYTHONPATH=hack python -m tiny_model.corpus build/tiny/corpus --espeak 9000 --flite 1200 --seed 1

About a minute of one core for 1,800 utterances of espeak-ng or 800 of flite.
"""

import argparse
import json
import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tiny_model.texts import text
from tiny_model.voices import SAMPLE_RATE, Voice, espeak, flite


@dataclass(frozen=True, slots=True)
class Utterance:
    """What one says, and where its samples lie in the folder's audio."""

    text: str
    voice: str
    start: int
    samples: int


@dataclass(frozen=True, slots=True)
class Corpus:
    """All utterances of a folder; the audio stays on disk."""

    utterances: tuple[Utterance, ...]
    audio: npt.NDArray[np.int16]

    @classmethod
    def load(cls, folder: Path, *, longest_seconds: float) -> "Corpus":
        """Read a folder, without what is longer."""
        lines = (folder / "index.jsonl").read_text(encoding="utf-8").splitlines()
        found = (Utterance(**json.loads(line)) for line in lines)
        kept = tuple(one for one in found if one.samples <= longest_seconds * SAMPLE_RATE)
        return cls(kept, np.memmap(folder / "audio.i16", np.int16, "r"))

    def samples(self, number: int) -> npt.NDArray[np.int16]:
        """Return the samples of an utterance."""
        one = self.utterances[number]
        return self.audio[one.start : one.start + one.samples]


def speak(count: int, voice: Callable[[random.Random], Voice], random_: random.Random) -> Iterator[tuple[Voice, str]]:
    """Draw who says what."""
    for _ in range(count):
        yield voice(random_), text(random_)


def build(folder: Path, jobs: list[tuple[Voice, str]], *, threads: int) -> int:
    """Write a folder; the samples of audio in it."""
    folder.mkdir(parents=True, exist_ok=True)
    position = 0
    with (
        (folder / "audio.i16").open("wb") as audio,
        (folder / "index.jsonl").open("w", encoding="utf-8") as index,
        ThreadPoolExecutor(threads) as pool,
    ):
        for (voice, said), samples in zip(jobs, pool.map(lambda job: job[0].say(job[1]), jobs), strict=True):
            audio.write(samples.astype("<i2").tobytes())
            line = {"text": said, "voice": voice.name, "start": position, "samples": len(samples)}
            index.write(json.dumps(line) + "\n")
            position += len(samples)
    return position


def main() -> None:
    """Build a corpus for training."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--espeak", type=int, default=9000, help="utterances")
    parser.add_argument("--flite", type=int, default=1200, help="utterances")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    random_ = random.Random(given.seed)  # noqa: S311 - the same corpus for the same seed
    jobs = [
        *speak(given.espeak, lambda random_: espeak(random_, held_out=False), random_),
        *speak(given.flite, lambda random_: flite(random_, held_out=False), random_),
    ]
    samples = build(given.folder, jobs, threads=given.threads)
    print(f"{len(jobs)} utterances, {samples / SAMPLE_RATE / 3600:.1f} h")


if __name__ == "__main__":
    main()
