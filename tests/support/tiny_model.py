"""The small model's folder, and clips it hears without an error."""

import re
import wave
from collections.abc import Sequence
from pathlib import Path

FIXTURES = Path(__file__).parents[1] / "fixtures"
MODEL = FIXTURES / "models/tiny"
BYTES_A_MS = 32

_LINE = re.compile(r"<s> (.*?)\s*</s> \((.*)\)")


def clips(folder: str = "speech") -> dict[str, tuple[str, bytes]]:
    """Name -> words and samples, of a folder of fixtures."""
    found = {}
    for line in (FIXTURES / folder / "transcription").read_text().splitlines():
        match = _LINE.fullmatch(line.strip())
        assert match, line
        with wave.open(str(FIXTURES / folder / f"{match[2]}.wav")) as clip:
            found[match[2]] = (match[1], clip.readframes(clip.getnframes()))
    return found


def silence(milliseconds: int) -> bytes:
    return bytes(milliseconds * BYTES_A_MS)


def one_after_another(
    spoken: Sequence[tuple[str, bytes]], *, pause_ms: int, lead_ms: int = 0
) -> tuple[list[str], bytes]:
    """What each says, and the audio of all, with pauses that end a turn."""
    pcm = b"".join(samples + silence(pause_ms) for _, samples in spoken)
    return [said for said, _ in spoken], silence(lead_ms) + pcm
