"""Audio for the scripted engine: PCM with words written into it, and what must be heard."""

from dataclasses import dataclass

from streamstack_asr.engines.scripted.markers import BLOCK_MS, BLOCK_SAMPLES, Kind, encode


@dataclass(frozen=True, slots=True)
class ScriptedWord:
    """A word and where it lies, in samples from the beginning of the session's audio."""

    text: str
    start_sample: int
    end_sample: int


@dataclass(frozen=True, slots=True)
class Script:
    """16 kHz mono PCM16 and its words; ``next_block`` continues the numbering in a further script."""

    pcm: bytes
    words: tuple[ScriptedWord, ...]
    next_block: int

    @property
    def samples(self) -> int:
        return len(self.pcm) // 2

    @property
    def text(self) -> str:
        return " ".join(word.text for word in self.words)

    def __add__(self, other: "Script") -> "Script":
        """One after the other; ``other`` must have been made with ``first_block=self.next_block``."""
        return Script(self.pcm + other.pcm, self.words + other.words, other.next_block)


def script(text: str, *, lead_ms: int = 100, gap_ms: int = 60, tail_ms: int = 400, first_block: int = 0) -> Script:
    """Speak ``text``, 20 ms a letter, with silence before, between and after; all in multiples of 20 ms.

    ``first_block`` is also where the audio begins on the session's clock, in blocks of 320 samples.
    """
    if any(length % BLOCK_MS for length in (lead_ms, gap_ms, tail_ms)):
        raise ValueError(f"silences of {lead_ms}, {gap_ms} and {tail_ms} ms: expected multiples of {BLOCK_MS}")
    blocks: list[bytes] = []
    words: list[ScriptedWord] = []

    def silence(length_ms: int) -> None:
        for _ in range(length_ms // BLOCK_MS):
            blocks.append(encode(Kind.SILENCE, "", first_block + len(blocks)))

    silence(lead_ms)
    for index, word in enumerate(text.split()):
        if index:
            silence(gap_ms)
        start = (first_block + len(blocks)) * BLOCK_SAMPLES
        for position, letter in enumerate(word):
            blocks.append(encode(Kind.LETTER if position else Kind.WORD_START, letter, first_block + len(blocks)))
        words.append(ScriptedWord(word, start, (first_block + len(blocks)) * BLOCK_SAMPLES))
    silence(tail_ms)
    return Script(b"".join(blocks), tuple(words), first_block + len(blocks))
