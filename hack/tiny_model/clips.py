"""Choose the clips of ``tests/fixtures/speech``: said by held-out voices, and heard right whenever they begin.

    PYTHONPATH=hack python -m tiny_model.clips tests/fixtures/models/tiny tests/fixtures/speech

Each text is taken from the first voice the model hears it from without an error, at every step it can take, begun at
every one of BEGINNINGS. Tests that stream these clips may then expect the words themselves.
"""

import argparse
import random
import wave
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from tiny_model.hearing import LOOKAHEADS, Listener
from tiny_model.held_out import Clip
from tiny_model.voices import SAMPLE_RATE, Voice, espeak, flite

TEXTS: Final = {
    "one_two_three": "one two three",
    "nine_eight_seven": "nine eight seven six five",
    "phone_number": "five five five zero one two three",
    "oh_four": "oh four four two nine",
    "ace_of_spades": "ace of spades",
    "queen_of_hearts": "queen of hearts ten of clubs",
    "three_cards": "king of diamonds two of spades seven of clubs",
    "jack": "jack of hearts",
    "go_forward": "go forward ten meters",
    "go_backward": "go backward three meters turn left",
    "turn_right": "turn right",
    "recording": "start the recording",
    "stop_recording": "stop the recording yes please",
    "up_and_down": "go up go down",
}
"""Name of the file -> what it says."""
BEGINNINGS: Final = (0, 500, 900)
"""Samples of silence in front: where a clip begins within a frame of 1280 makes it another sequence to the model."""
VOICES_TRIED: Final = 12


def candidates(number: int) -> list[Voice]:
    """Return the voices tried for the clip of that number, one in four of flite."""
    random_ = random.Random(2000 + number)  # noqa: S311 - the same clips each time
    voice = flite if number % 4 == 2 else espeak
    return [voice(random_, held_out=True) for _ in range(VOICES_TRIED)]


def always_right(listener: Listener, clip: Clip) -> bool:
    """Whether it is heard right at every step and from every beginning."""
    begun = [Clip(clip.said, np.concatenate([np.zeros(wait, np.int16), clip.samples])) for wait in BEGINNINGS]
    return all(set(listener.texts(begun, step)) == {clip.said} for step in LOOKAHEADS)


def write(path: Path, samples: npt.NDArray[np.int16]) -> None:
    """Write a WAV file."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes(samples.astype("<i2").tobytes())


def choose(listener: Listener, said: str, voices: Sequence[Voice]) -> tuple[Voice, Clip] | None:
    """Return the first voice that is heard right, and its clip."""
    for voice in voices:
        clip = Clip(said, voice.say(said))
        if always_right(listener, clip):
            return voice, clip
    return None


def main() -> None:
    """Choose and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("folder", type=Path)
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    listener = Listener(given.model, precision="fp32", steps_ms=list(LOOKAHEADS))
    lines = []
    for number, (name, said) in enumerate(TEXTS.items()):
        chosen = choose(listener, said, candidates(number))
        if chosen is None:
            print(f"{name}: no voice is heard right")
            continue
        voice, clip = chosen
        write(given.folder / f"{name}.wav", clip.samples)
        lines.append(f"<s> {said} </s> ({name})\n")
        print(f"{name}: {voice.synthesiser} {voice.name}, {clip.seconds:.1f} s", flush=True)
    (given.folder / "transcription").write_text("".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
