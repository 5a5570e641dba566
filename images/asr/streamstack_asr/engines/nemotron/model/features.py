"""Log-mel features of a step, from int16 audio and the audio kept before it.

The same numbers as transformers' ``NemotronAsrStreamingFeatureExtractor`` over the whole recording: no normalisation,
so a frame depends on its own window alone.
"""

from typing import Any, Final

import torch

from streamstack_asr.engines.nemotron.model.lanes import WINDOW_HALF

N_FFT: Final = 2 * WINDOW_HALF
HOP: Final = 160
WINDOW: Final = 400
LOG_GUARD: Final = 2.0**-24
"""The extractor's ``LOG_ZERO_GUARD_VALUE``."""
HISTORY_SAMPLES: Final = N_FFT - HOP + 1
"""Audio before a step that its first frame needs, and one sample more for the preemphasis."""


class LogMel:
    """The extractor's arithmetic on a device, always in fp32."""

    def __init__(self, extractor: Any, device: torch.device) -> None:
        """Take window, filters and preemphasis from transformers' extractor."""
        stored = getattr(torch, extractor.mel_filters_dtype)
        self._window = torch.hann_window(WINDOW, periodic=False).to(stored).float().to(device)
        self._filters = extractor.mel_filters.to(stored).float().to(device)
        self._preemphasis = float(extractor.preemphasis or 0.0)

    def __call__(self, audio: torch.Tensor) -> torch.Tensor:
        """Return features ``[rows, samples / 160, mel_bins]`` of ``audio`` ``[rows, 353 + samples]``, scaled to 1.

        Audio that does not exist yet is zero, which is how the extractor pads.
        """
        emphasised = audio[:, 1:] - self._preemphasis * audio[:, :-1]
        spectrum = torch.stft(
            emphasised,
            N_FFT,
            hop_length=HOP,
            win_length=WINDOW,
            window=self._window,
            center=False,
            return_complex=True,
        )
        magnitudes = torch.view_as_real(spectrum).pow(2).sum(-1).sqrt().pow(2)
        return torch.log(self._filters @ magnitudes + LOG_GUARD).transpose(1, 2)
