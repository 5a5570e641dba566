"""A lane: the sessions of one lookahead, which advance together in steps of one size."""

from dataclasses import dataclass

from streamstack_asr.engines.nemotron.facts import FRAME_SAMPLES, HOP_SAMPLES, SAMPLE_RATE, SUBSAMPLING

WINDOW_HALF = 256
"""Half the feature extractor's FFT window (``n_fft`` 512): a mel frame needs so much audio behind its centre."""


@dataclass(frozen=True, slots=True)
class Lane:
    """Sizes of one lookahead of R encoder frames; ``left_context_frames`` is the model's."""

    lookahead: int
    left_context_frames: int

    @property
    def frames(self) -> int:
        """Encoder frames a step."""
        return self.lookahead + 1

    @property
    def mel_frames(self) -> int:
        """Mel frames a step; the first step has seven fewer."""
        return self.frames * SUBSAMPLING

    @property
    def step_samples(self) -> int:
        """New audio a step."""
        return self.frames * FRAME_SAMPLES

    @property
    def first_samples(self) -> int:
        """Audio of the first step: 1 + 8 R mel frames, the first of them centred at the first sample."""
        return self.lookahead * SUBSAMPLING * HOP_SAMPLES + WINDOW_HALF

    @property
    def chunk_ms(self) -> int:
        """Length of a step."""
        return self.step_samples * 1000 // SAMPLE_RATE

    @property
    def window(self) -> int:
        """Cached frames that a step attends to: whole steps (transformers' ``chunked_limited_mask_function``)."""
        return self.left_context_frames // self.frames * self.frames
