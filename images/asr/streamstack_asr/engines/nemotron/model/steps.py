"""One step of one lane and batch size over buffers of fixed addresses: what a CPU runs and what CUDA captures."""

import numpy as np
import torch
from numpy.typing import NDArray

from streamstack_asr.engines.nemotron.model.decoder import DecoderStep, Progress
from streamstack_asr.engines.nemotron.model.encoder import EncoderStep
from streamstack_asr.engines.nemotron.model.features import HISTORY_SAMPLES, LogMel
from streamstack_asr.engines.nemotron.model.lanes import Lane
from streamstack_asr.engines.nemotron.model.pools import Pools

FULL_SCALE = 32_768.0


class Step:
    """A step of ``rows`` rows. ``load`` what it is about, ``encode``, ``decode`` until ``result`` says all is done."""

    def __init__(
        self,
        lane: Lane,
        *,
        rows: int,
        pools: Pools,
        features: LogMel,
        encoder: EncoderStep,
        decoder: DecoderStep,
    ) -> None:
        device = pools.audio.device
        pinned = device.type == "cuda"
        self.rows = rows
        self.lane = lane
        self._pools = pools
        self._features = features
        self._encoder = encoder
        self._decoder = decoder
        self._host_slots = torch.zeros(rows, dtype=torch.long, pin_memory=pinned)
        self._host_audio = torch.zeros(rows, lane.step_samples, dtype=torch.int16, pin_memory=pinned)
        self._slots = torch.zeros(rows, dtype=torch.long, device=device)
        self._audio = torch.zeros(rows, lane.step_samples, dtype=torch.int16, device=device)
        self._progress = Progress.start(rows, device)
        self._encoded = torch.zeros(rows, lane.frames, pools.output.shape[1], dtype=pools.output.dtype, device=device)
        self._result = torch.zeros(rows, decoder.width, device=device)
        self._missing = torch.arange(lane.step_samples, device=device) < lane.step_samples - lane.first_samples

    def load(self, slots: NDArray[np.int64], audio: NDArray[np.int16]) -> None:
        """Take the slots [rows] and their audio [rows, step samples] of the next step."""
        self._host_slots.numpy()[:] = slots
        self._host_audio.numpy()[:] = audio
        self._slots.copy_(self._host_slots, non_blocking=True)
        self._audio.copy_(self._host_audio, non_blocking=True)

    def encode(self) -> None:
        """Audio to encoder frames; every slot of the step is one step further."""
        pools, slots = self._pools, self._slots
        fresh = pools.fresh[slots]
        new = self._audio.float() / FULL_SCALE
        new = new.masked_fill(fresh[:, None] & self._missing, 0.0)
        whole = torch.cat([pools.audio[slots], new], dim=1)
        pools.audio.index_copy_(0, slots, whole[:, -HISTORY_SAMPLES:])
        features = self._features(whole).to(self._encoded.dtype)
        self._encoded.copy_(self._encoder(slots, features, fresh))
        pools.fresh.index_fill_(0, slots, value=False)
        self._progress.frame.zero_()
        self._progress.symbols.zero_()

    def decode(self, *, biased: bool) -> None:
        """Encoder frames to tokens, from where the last call came to."""
        self._result.copy_(self._decoder(self._slots, self._encoded, self._progress, biased=biased))

    def result(self) -> NDArray[np.float32]:
        """Wait for the last ``decode``; its columns, see ``DecoderStep``."""
        out: NDArray[np.float32] = self._result.cpu().numpy().copy()  # on a CPU the next call would write over it
        return out

    @property
    def encoded(self) -> torch.Tensor:
        """What ``encode`` made [rows, frames, size]; overwritten by the next step."""
        return self._encoded
