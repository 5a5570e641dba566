"""When a turn ends: the US models' rule, with the session's own thresholds (protocol reference 6.3).

Semantic: confidence at or above the threshold and ``min_turn_silence`` of silence. Acoustic: ``max_turn_silence``
whatever the confidence. Both need 80 ms of speech. Silence is measured in audio time: no audio, no silence.
"""

import math
from dataclasses import dataclass
from enum import Enum
from typing import Final

from streamstack_common.contracts.rpc import PROFILE_CERTAIN, PROFILE_WINDOW_SAMPLES, samples_to_ms
from streamstack_gateway.dialects.events import TurnSettings

MINIMUM_SPEECH_MS: Final = 80

AGREEMENT_MS: Final = 120
"""How far the decoder's blank run may lag behind the voice detector and still confirm its silence."""

NOISE_GUARD_MS: Final = 1_000
"""How much longer the decoder must find no word before sound that the detector takes for speech counts as noise."""

SILENCE_WEIGHT: Final = 6.0 / 1_000
BIAS: Final = -2.0
PUNCTUATED: Final = 2.0
UNFINISHED: Final = -2.5
"""Logistic weights: a plain word reaches the default threshold of 0.4 after 270 ms of silence, a dangling one after
680 ms, a punctuated one at once; chosen on the recordings at hand, to be replaced by a model's own opinion."""

DANGLING: Final = frozenset(
    [
        "a",
        "an",
        "the",
        "and",
        "or",
        "but",
        "nor",
        "of",
        "to",
        "in",
        "on",
        "at",
        "with",
        "for",
        "from",
        "by",
        "as",
        "than",
        "that",
        "which",
        "who",
        "if",
        "because",
        "so",
        "while",
        "uh",
        "um",
        "er",
        "hm",
        "my",
        "your",
        "his",
        "her",
        "its",
        "our",
        "their",
        "this",
        "these",
        "those",
        "is",
        "are",
        "was",
        "were",
        "am",
        "be",
        "been",
        "very",
        "more",
        "most",
        "rather",
        "had",
        "has",
        "have",
        "i",
        "he",
        "she",
        "we",
        "they",
        "will",
        "would",
        "can",
        "could",
        "shall",
        "should",
        "may",
        "might",
        "must",
        "not",
        "no",
        "mister",
        "missus",
        "doctor",
    ]
)
"""English words that seldom end a sentence."""


class Decision(Enum):
    """What to do with the open turn."""

    CONTINUE = "continue"
    PAUSE = "pause"
    END = "end"


@dataclass(frozen=True, slots=True)
class Signs:
    """What a hypothesis says about the end of the turn; without a ``speech_profile`` the step counts as a whole."""

    through_sample: int
    speech_probability: float
    trailing_silence_ms: int
    turn_complete_probability: float | None
    spoken_ms: int
    last_word: str
    speech_profile: bytes = b""


class TurnDetector:
    """Watches one session; ``start`` begins each turn."""

    __slots__ = ("_last_speech_sample", "_paused", "confidence", "settings")

    def __init__(self, settings: TurnSettings) -> None:
        self.settings = settings
        self.confidence = 0.0
        self._last_speech_sample = 0
        self._paused = False

    def start(self, sample: int) -> None:
        """A turn begins at ``sample``."""
        self._last_speech_sample = max(self._last_speech_sample, sample)
        self._paused = False
        self.confidence = 0.0

    def observe(self, signs: Signs) -> Decision:
        """Take news of the open turn; PAUSE comes once per pause."""
        settings = self.settings
        spoken_until = _spoken_until(signs, settings.vad_threshold)
        if spoken_until is not None:
            # Also back: after a turn's end the next one's steps begin there, in audio that was decoded before.
            self._last_speech_sample = spoken_until
        silence_ms = self._silence_ms(signs, speaking=spoken_until == signs.through_sample)
        self.confidence = end_of_turn_confidence(
            silence_ms, signs.last_word, turn_complete_probability=signs.turn_complete_probability
        )
        if signs.spoken_ms < MINIMUM_SPEECH_MS or silence_ms < settings.min_turn_silence_ms:
            self._paused = self._paused and silence_ms > 0
            return self._forced(signs, silence_ms)
        if self.confidence >= settings.end_of_turn_confidence_threshold:
            return Decision.END
        if silence_ms >= settings.max_turn_silence_ms:
            return Decision.END
        if self._paused:
            return Decision.CONTINUE
        self._paused = True
        return Decision.PAUSE

    def _forced(self, signs: Signs, silence_ms: int) -> Decision:
        """``max_turn_silence`` may be set below ``min_turn_silence`` and then decides alone."""
        enough = signs.spoken_ms >= MINIMUM_SPEECH_MS and silence_ms >= self.settings.max_turn_silence_ms
        return Decision.END if enough else Decision.CONTINUE

    def _silence_ms(self, signs: Signs, *, speaking: bool) -> int:
        if speaking:
            return max(0, signs.trailing_silence_ms - NOISE_GUARD_MS)
        quiet_ms = samples_to_ms(max(0, signs.through_sample - self._last_speech_sample))
        return min(quiet_ms, signs.trailing_silence_ms + AGREEMENT_MS)


def _spoken_until(signs: Signs, threshold: float) -> int | None:
    """Where the last speech of a step ended, None without any; its end when that is not known more exactly.

    A step of the engine may be half a second long, and the silence at its end counts.
    """
    if signs.speech_probability < threshold:
        return None
    profile = signs.speech_profile
    for quiet, probability in enumerate(reversed(profile)):
        if probability >= threshold * PROFILE_CERTAIN:
            return signs.through_sample - quiet * PROFILE_WINDOW_SAMPLES
    return signs.through_sample


def end_of_turn_confidence(silence_ms: int, last_word: str, *, turn_complete_probability: float | None = None) -> float:
    """Confidence from 0 to below 1 that the turn is over, so that a threshold of 1 means acoustic only."""
    if not last_word:
        return 0.0
    if turn_complete_probability is not None:
        return min(0.9999, round(turn_complete_probability, 4))
    score = BIAS + SILENCE_WEIGHT * silence_ms
    if last_word[-1] in ".?!":
        score += PUNCTUATED
    elif last_word.lower() in DANGLING:
        score += UNFINISHED
    return min(0.9999, round(1 / (1 + math.exp(-score)), 4))
