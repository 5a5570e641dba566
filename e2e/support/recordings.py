"""Recordings to stream, and what is said in them."""

import re
import wave
from pathlib import Path

from support.scripted_audio import script

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "clients/examples/recording.wav"
EXAMPLE_WORDS = frozenset({"john", "consider", "how", "much", "power", "to", "do", "for"})
"""What PocketSphinx gets right of "and mister john dashwood had then leisure to consider how much there might be
prudently in his power to do for them"; the same as tests/cli/test_demo.py expects."""

LIBRIVOX = ROOT / "tests/fixtures/recordings/librivox"
SAMPLE_RATE = 16_000
PAUSE = bytes(2 * SAMPLE_RATE * 3 // 2)
"""A second and a half of silence: the end of a turn."""


def words(text: str) -> list[str]:
    """Words as they compare: without case and punctuation."""
    return re.sub(r"[^\w\s']", "", text.lower()).split()


def reading(folder: Path) -> tuple[Path, list[list[str]]]:
    """Write all LibriVox clips one after the other, with pauses; the file, and the words of each clip."""
    pcm, said = [], []
    for line in (LIBRIVOX / "transcription").read_text().splitlines():
        found = re.fullmatch(r"<s> (.*?)\s*</s> \((.*)\)", line)
        assert found is not None, line
        with wave.open(str(LIBRIVOX / f"{found[2]}.wav")) as clip:
            pcm.append(clip.readframes(clip.getnframes()))
        said.append(found[1].split())
    path = folder / "reading.wav"
    write(path, PAUSE.join([*pcm, b""]))
    return path, said


def scripted(folder: Path, *sentences: str) -> Path:
    """Write audio for the scripted engine: it reads its words out of the very samples that arrive."""
    spoken = script(sentences[0], tail_ms=1600)
    for sentence in sentences[1:]:
        spoken += script(sentence, tail_ms=1600, first_block=spoken.next_block)
    path = folder / "scripted.wav"
    write(path, spoken.pcm)
    return path


def write(path: Path, pcm: bytes) -> None:
    """Write 16 kHz mono PCM16."""
    with wave.open(str(path), "wb") as recording:
        recording.setnchannels(1)
        recording.setsampwidth(2)
        recording.setframerate(SAMPLE_RATE)
        recording.writeframes(pcm)


def word_errors(reference: list[str], hypothesis: list[str]) -> int:
    """Levenshtein distance in words."""
    row = list(range(len(hypothesis) + 1))
    for i, expected in enumerate(reference, 1):
        previous, row[0] = row[0], i
        for j, found in enumerate(hypothesis, 1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (expected != found))
    return row[-1]
