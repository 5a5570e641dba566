"""What the small model is tested with: voices, a synthesiser, people and words it never heard in training."""

import random
import re
import wave
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from tiny_model.texts import COMMANDS, CORE, NUMBERS, WITHHELD, known_text, nobody_said
from tiny_model.voices import SAMPLE_RATE, Voice, espeak, flite

FIXTURES: Final = Path(__file__).resolve().parents[2] / "tests/fixtures"
DEBIAN: Final = Path("/usr/share/pocketsphinx/test/data")
"""Where Debian's pocketsphinx-testdata has its recordings."""
DEBIAN_RECORDINGS: Final = {
    "goforward.raw": "go forward ten meters",
    "tidigits/dhd.2934z.raw": "two nine three four zero",
}

NOISE_FACTOR: Final = 3.0
"""What is said is louder than three times the quietest tenth of a recording."""

_LINE: Final = re.compile(r"<s> (?P<text>.*?)\s*</s> \((?P<name>.*)\)")


@dataclass(frozen=True, slots=True)
class Clip:
    """Samples at 16 kHz, and what they say."""

    said: str
    samples: npt.NDArray[np.int16]

    @property
    def words(self) -> list[str]:
        """What is said, word by word."""
        return self.said.split()

    @property
    def seconds(self) -> float:
        """How long it is."""
        return len(self.samples) / SAMPLE_RATE


def held_out_espeak(count: int, seed: int = 1001) -> list[Clip]:
    """Return known words said by espeak voices that training had not."""
    random_ = random.Random(seed)  # noqa: S311 - the same clips each time
    return [_clip(espeak(random_, held_out=True), known_text(random_)) for _ in range(count)]


def held_out_flite(count: int, seed: int = 1002) -> list[Clip]:
    """Return known words said by flite's slt and awb: voices made from recordings of people."""
    random_ = random.Random(seed)  # noqa: S311
    return [_clip(flite(random_, held_out=True), known_text(random_)) for _ in range(count)]


def people() -> list[Clip]:
    """Return the recordings of people that say known words. Raises FileNotFoundError without Debian's package."""
    debian = [Clip(said, np.fromfile(DEBIAN / name, "<i2")) for name, said in DEBIAN_RECORDINGS.items()]
    return [*listed(FIXTURES / "recordings/cards"), *debian]


def listed(folder: Path) -> list[Clip]:
    """Return the clips of a folder with a ``transcription``. Raises ValueError when a line of it is malformed."""
    found = []
    for line in (folder / "transcription").read_text(encoding="utf-8").splitlines():
        match = _LINE.fullmatch(line.strip())
        if match is None:
            raise ValueError(f"{folder}/transcription: {line!r}, expected '<s> words </s> (name)'")
        with wave.open(str(folder / f"{match['name']}.wav")) as clip:
            found.append(Clip(match["text"], np.frombuffer(clip.readframes(clip.getnframes()), "<i2")))
    return found


def withheld(times: int, seed: int = 1003) -> list[tuple[str, Clip]]:
    """Return each withheld word as often, in a command, by held-out voices."""
    random_ = random.Random(seed)  # noqa: S311
    frames = ("{}", "{} please", "go forward {}", "stop {}", "yes {}", "turn left {}")
    return [
        (word, _clip(espeak(random_, held_out=True), frames[number % len(frames)].format(word)))
        for word in WITHHELD
        for number in range(times)
    ]


def irrelevant(count: int, seed: int = 1004) -> tuple[str, ...]:
    """Return terms that nothing here says: the withheld words, and made-up ones behind them."""
    random_ = random.Random(seed)  # noqa: S311
    made_up = (word for word in iter(lambda: nobody_said(random_), "") if len(word) > 4 and word not in CORE)
    found = dict.fromkeys(random_.sample(WITHHELD, min(count, len(WITHHELD))))
    while len(found) < count:
        found[next(made_up)] = None
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Placed:
    """A word and where it lies, in samples from the start of its clip."""

    word: str
    start: int
    end: int


def placed_words(count: int, seed: int = 1005) -> Iterator[tuple[Clip, tuple[Placed, ...]]]:
    """Yield clips of single words set one behind the other with pauses of 80 to 600 ms, and where each word lies."""
    random_ = random.Random(seed)  # noqa: S311
    words = sorted({*CORE} - {"oh", "of", "the"} | {*NUMBERS} | {w for w in COMMANDS if " " not in w})
    for _ in range(count):
        voice = espeak(random_, held_out=True)
        pieces, places, position = [], [], 0
        for word in random_.sample(words, 6):
            pause = random_.randint(80, 600) * SAMPLE_RATE // 1000
            spoken = trimmed(voice.say(word))
            pieces += [np.zeros(pause, np.int16), spoken]
            places.append(Placed(word, position + pause, position + pause + len(spoken)))
            position += pause + len(spoken)
        yield Clip(" ".join(place.word for place in places), np.concatenate(pieces)), tuple(places)


def trimmed(samples: npt.NDArray[np.int16]) -> npt.NDArray[np.int16]:
    """Cut both ends where nothing is said: 40 dB or more below the loudest 10 ms, or near the recording's own noise."""
    loud = _loud(samples)
    return samples[loud[0] * 160 : (loud[-1] + 1) * 160]


def longest_pause_ms(samples: npt.NDArray[np.int16]) -> int:
    """Return the longest stretch between two sounds where nothing is said, by the same measure."""
    return int(np.diff(_loud(samples)).max(initial=1) - 1) * 10


def _loud(samples: npt.NDArray[np.int16]) -> npt.NDArray[np.intp]:
    """Return the numbers of the 10 ms where something is said."""
    frames = samples[: len(samples) // 160 * 160].reshape(-1, 160).astype(np.float64)
    levels = np.sqrt((frames**2).mean(1))
    return np.flatnonzero(levels > max(0.01 * levels.max(), NOISE_FACTOR * np.quantile(levels, 0.1)))


def _clip(voice: Voice, said: str) -> Clip:
    return Clip(said, voice.say(said))
