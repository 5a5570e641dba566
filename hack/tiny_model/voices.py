"""Speech from text by espeak-ng and flite, which Debian packages: 16 kHz, mono, 16 bits."""

import io
import random
import subprocess
import tempfile
import wave
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import soxr

from tiny_model.texts import words

SAMPLE_RATE: Final = 16_000

_ACCENTS: Final = words("en-us en-gb en-gb-scotland en-gb-x-rp en-gb-x-gbclan en-gb-x-gbcwmd en-029 en-us-nyc")
_VARIANTS: Final = words("""
    adam Alex Andrea Andy Annie antonio aunty belinda benjamin caleb david Denis Diogo ed edward edward2 Gene
    Henrique Hugo iven iven2 iven4 Jacky john kaukovalta Lee linda marcelo Marco Mario Michael michel miguel mike
    pablo paul pedro quincy rob robert steph steph3 Storm Tweaky UniRobot zac anika AnxiousAndy f1 f2 f4 f5
    grandma klatt klatt2 klatt4 m1 m2 m3 m4 m6 m7 m8 norbert sandro travis victor
""")
_HELD_OUT_VARIANTS: Final = words("Alicia f3 m5 steph2 max klatt3 Gene2 shelby grandpa iven3")
FLITE: Final = ("kal16", "rms")
HELD_OUT_FLITE: Final = ("slt", "awb")


@dataclass(frozen=True, slots=True)
class Voice:
    """A voice; for espeak-ng its words a minute, pitch (0 to 99) and pause between words in 10 ms."""

    synthesiser: str
    name: str
    speed: int = 170
    pitch: int = 50
    gap: int = 0

    def say(self, text: str) -> npt.NDArray[np.int16]:
        """Return the samples. Raises subprocess.CalledProcessError when the synthesiser fails."""
        return self._espeak(text) if self.synthesiser == "espeak" else self._flite(text)

    def _espeak(self, text: str) -> npt.NDArray[np.int16]:
        settings = ("-v", self.name, "-s", str(self.speed), "-p", str(self.pitch), "-g", str(self.gap))
        command = ["espeak-ng", *settings, "--stdout", text]
        spoken = subprocess.run(command, check=True, capture_output=True)
        # 44 bytes of header, whose lengths are not filled in when it writes to a pipe; 22,050 Hz.
        return at_16_khz(np.frombuffer(spoken.stdout[44:], "<i2"), 22_050)

    def _flite(self, text: str) -> npt.NDArray[np.int16]:
        with tempfile.NamedTemporaryFile(suffix=".wav") as file:
            command = ["flite", "-voice", self.name, "-t", text, "-o", file.name]
            subprocess.run(command, check=True, capture_output=True)
            with wave.open(io.BytesIO(file.read())) as spoken:
                samples = np.frombuffer(spoken.readframes(spoken.getnframes()), "<i2")
                return at_16_khz(samples, spoken.getframerate())


def at_16_khz(samples: npt.NDArray[np.int16], rate: int) -> npt.NDArray[np.int16]:
    """Resample."""
    return samples if rate == SAMPLE_RATE else soxr.resample(samples, rate, SAMPLE_RATE)


def espeak(random_: random.Random, *, held_out: bool) -> Voice:
    """Return one of the espeak voices: 70 timbres for training or ten others, in eight accents."""
    return Voice(
        synthesiser="espeak",
        name=f"{random_.choice(_ACCENTS)}+{random_.choice(_HELD_OUT_VARIANTS if held_out else _VARIANTS)}",
        speed=random_.randint(110, 220),
        pitch=random_.randint(25, 75),
        gap=random_.choice((0, 0, 0, 2, 5, 10)),
    )


def flite(random_: random.Random, *, held_out: bool) -> Voice:
    """Return one of the flite voices: two for training, or two others."""
    return Voice("flite", random_.choice(HELD_OUT_FLITE if held_out else FLITE))
