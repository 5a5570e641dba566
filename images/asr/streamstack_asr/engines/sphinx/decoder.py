"""The only module that touches pocketsphinx: typed, and free of its quirks.

Facts here were measured on pocketsphinx 5.1.1 with the model in its wheel.
"""

import math
import re
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from pocketsphinx import Decoder as PocketSphinx
from pocketsphinx import Vad

SAMPLE_RATE: Final = 16_000
FRAME_SAMPLES: Final = 160
"""Samples in a decoder frame; ``frate`` is 100."""

Mean = tuple[float, ...]
"""Cepstral mean of a channel and speaker, 13 values: what live normalisation (CMN) subtracts."""

GENERIC_MEAN: Final[Mean] = (41.0, -5.29, -0.12, 5.09, 2.48, -4.07, -1.37, -1.78, -5.08, -2.05, -6.45, -1.42, 1.17)
"""``-cmninit`` that CMUSphinx published with this acoustic model; the wheel's ``feat.params`` lost it."""

_MEAN_WEIGHT_FRAMES: Final = 500
"""How many frames a mean given to ``set_cmn`` counts for (CMN_WIN in cmn.h)."""

_CONFIG: Final = {
    # The second pass costs 130 ms at the end of each turn and makes 4 % (absolute) more errors on read speech; the
    # best path over the lattice costs 10 ms and is the only source of real confidences.
    "fwdflat": False,
    "bestpath": True,
    # Silent: its log lines carry transcripts.
    "loglevel": "FATAL",
}

_ALTERNATIVE: Final = re.compile(r"\(\d+\)$")
_SCORE_SHIFT: Final = 1 << 10  # SENSCR_SHIFT: scores of an unfinished utterance are divided by this
# Confidence of a word of an unfinished utterance, which has no lattice yet: logistic in its acoustic log score per
# frame relative to the best senone's; fitted by eye to 88 recorded words (median right -2.7, median wrong -3.5).
_CONFIDENCE_SLOPE: Final = 1.5
_CONFIDENCE_MIDDLE: Final = -4.2


class DecoderError(Exception):
    """pocketsphinx could not load or could not go on."""


@dataclass(frozen=True, slots=True)
class Segment:
    """One spoken word of an utterance; frames count from its begin, ``end_frame`` is exclusive."""

    text: str
    start_frame: int
    end_frame: int
    confidence: float


class Decoder:
    """One pocketsphinx decoder: utterance by utterance, resettable to the very state of a new one."""

    def __init__(self, **options: Any) -> None:
        """Load the model (0.3 s, 92 MiB); ``options`` override the configuration. Raises DecoderError."""
        try:
            self._decoder = PocketSphinx(**{**_CONFIG, **options})
        except (RuntimeError, ValueError) as error:
            raise DecoderError(f"pocketsphinx could not load its model: {error}") from error
        # The first utterance of a decoder's life is scored slightly differently from all later ones.
        self.begin(GENERIC_MEAN, fresh=True)
        self.feed(bytes(SAMPLE_RATE))
        self.finish()

    def begin(self, mean: Mean, *, fresh: bool) -> None:
        """Start an utterance; ``fresh`` forgets the channel's noise as well, as for a new session."""
        if fresh:
            with warnings.catch_warnings():
                # Called unnecessary by its authors, but without it the noise estimate leaks into the next session.
                warnings.simplefilter("ignore", DeprecationWarning)
                self._decoder.start_stream()
            self._decoder.reinit_feat()
        self._decoder.set_cmn(",".join(f"{value:.6g}" for value in mean))
        self._start_mean = mean
        self._decoder.start_utt()

    def feed(self, pcm: bytes) -> None:
        """Decode the utterance's next samples. Raises DecoderError."""
        if not pcm:
            return
        try:
            self._decoder.process_raw(pcm, False, False)
        except RuntimeError as error:
            raise DecoderError(f"pocketsphinx could not go on decoding: {error}") from error

    def words(self) -> tuple[Segment, ...]:
        """Best words so far."""
        return tuple(_segments(self._decoder.seg() or (), finished=False))

    def finish(self) -> tuple[Segment, ...]:
        """End the utterance; its words, with posteriors of the lattice as confidence. Raises DecoderError."""
        try:
            self._decoder.end_utt()
        except RuntimeError as error:
            raise DecoderError(f"pocketsphinx could not end an utterance: {error}") from error
        return tuple(_segments(self._decoder.seg() or (), finished=True))

    def mean(self) -> Mean:
        """Mean that live normalisation has arrived at; for the next utterance of the same session."""
        return _parse_mean(self._decoder.get_cmn(False))

    def utterance_mean(self) -> Mean:
        """Mean of the running utterance alone, without what it was begun with. Changes the running normalisation."""
        blended = _parse_mean(self._decoder.get_cmn(True))
        undo = _MEAN_WEIGHT_FRAMES / max(self._decoder.n_frames(), 1)
        return tuple(now + (now - before) * undo for before, now in zip(self._start_mean, blended, strict=True))


class SpeechDetector:
    """WebRTC's voice activity detector as pocketsphinx carries it; stateful, frame after frame."""

    frame_samples: Final = 480

    def __init__(self) -> None:
        self._vad = Vad(mode=Vad.STRICT, sample_rate=SAMPLE_RATE, frame_length=0.03)

    def is_speech(self, frame: bytes) -> bool:
        """Whether one frame of ``frame_samples`` samples holds speech."""
        return bool(self._vad.is_speech(frame))


def _parse_mean(text: str) -> Mean:
    return tuple(float(value) for value in text.split(","))


def _segments(raw: Iterable[Any], *, finished: bool) -> Iterable[Segment]:
    for item in raw:
        # Fillers: <s>, </s>, <sil>, [NOISE], [SPEECH], ++UH++ ...
        if item.word.startswith(("<", "[", "++")):
            continue
        frames = item.end_frame - item.start_frame + 1
        confidence = item.prob if finished else _acoustic_confidence(item.ascore, frames)
        text = _ALTERNATIVE.sub("", item.word)
        yield Segment(text, item.start_frame, item.end_frame + 1, min(max(confidence, 0.0), 1.0))


def _acoustic_confidence(score: float, frames: int) -> float:
    if score <= 0.0:
        return 0.0
    per_frame = math.log(score) * _SCORE_SHIFT / frames
    return 1.0 / (1.0 + math.exp(-_CONFIDENCE_SLOPE * (max(per_frame, -100.0) - _CONFIDENCE_MIDDLE)))
