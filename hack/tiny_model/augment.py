"""Other rooms, distances, lines and paces for the same utterance: float32 samples in, float32 samples out."""

import random

import numpy as np
import numpy.typing as npt

SAMPLE_RATE = 16_000
Samples = npt.NDArray[np.float32]


def augment(samples: npt.NDArray[np.int16], random_: random.Random, noise: np.random.Generator) -> Samples:
    """Return one of the ways an utterance may reach a microphone, with quiet before and behind it."""
    speech = samples.astype(np.float32) / 32_768
    if random_.random() < 0.5:
        speech = _at_pace(speech, random_.uniform(0.88, 1.12))
    level = float(np.sqrt(np.mean(speech**2) + 1e-9))
    if random_.random() < 0.7:
        speech = speech + _noise(len(speech), level * 10 ** (-random_.uniform(3, 35) / 20), random_, noise)
    if random_.random() < 0.25:
        speech = _in_a_room(speech, random_.randint(200, 2400), noise)
    if random_.random() < 0.2:
        speech = _by_telephone(speech, high_hz=random_.choice((3400, 4000)))
    floor = level * 10 ** random_.uniform(-4, -1.5)
    before = noise.standard_normal(random_.randint(0, 4000)) * floor
    behind = noise.standard_normal(random_.randint(800, 8000)) * floor
    loudness = 10 ** random_.uniform(-1.2, 0.4)
    return (np.concatenate([before, speech, behind]) * loudness).astype(np.float32)


def _at_pace(speech: Samples, factor: float) -> Samples:
    """Faster and higher by ``factor``."""
    places = np.linspace(0, len(speech) - 1, int(len(speech) / factor))
    return np.interp(places, np.arange(len(speech)), speech).astype(np.float32)


def _noise(length: int, level: float, random_: random.Random, noise: np.random.Generator) -> Samples:
    """White noise, or half the time with less of the high tones."""
    found = noise.standard_normal(length)
    if random_.random() < 0.5:
        found = np.convolve(found, np.ones(random_.randint(2, 12)), "same")
    return (found * (level / np.sqrt(np.mean(found**2) + 1e-9))).astype(np.float32)


def _in_a_room(speech: Samples, length: int, noise: np.random.Generator) -> Samples:
    """Echoes that die within ``length`` samples."""
    echoes = np.exp(-np.arange(length) / (length / 5)) * noise.standard_normal(length)
    echoes[0] = 3
    size = 1 << (len(speech) + length).bit_length()
    spectrum = np.fft.rfft(speech, size) * np.fft.rfft(echoes / np.sqrt(np.sum(echoes**2)), size)
    return np.fft.irfft(spectrum, size)[: len(speech)].astype(np.float32)


def _by_telephone(speech: Samples, *, high_hz: float) -> Samples:
    """Without what lies below 250 Hz or above ``high_hz``."""
    size = 1 << len(speech).bit_length()
    spectrum, tones = np.fft.rfft(speech, size), np.fft.rfftfreq(size, 1 / SAMPLE_RATE)
    spectrum[(tones < 250) | (tones > high_hz)] = 0
    return np.fft.irfft(spectrum, size)[: len(speech)].astype(np.float32)
