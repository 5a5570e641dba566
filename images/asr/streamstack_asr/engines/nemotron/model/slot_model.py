"""The model as the engine's worker sees it: slots that any step may advance together."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from streamstack_asr.engines.nemotron import keyterms
from streamstack_asr.engines.nemotron.facts import ModelError, ModelFacts
from streamstack_asr.engines.nemotron.model.biasing import KeytermPools
from streamstack_asr.engines.nemotron.model.decoder import DecoderStep, Head, predicted
from streamstack_asr.engines.nemotron.model.encoder import EncoderStep
from streamstack_asr.engines.nemotron.model.features import LogMel
from streamstack_asr.engines.nemotron.model.graphs import CapturedStep
from streamstack_asr.engines.nemotron.model.lanes import Lane
from streamstack_asr.engines.nemotron.model.loading import Loaded, load
from streamstack_asr.engines.nemotron.model.pools import Pools
from streamstack_asr.engines.nemotron.model.precision import name_of
from streamstack_asr.engines.nemotron.model.steps import Step

BUCKETS: Final = (1, 2, 4, 8, 16, 32, 64, 96, 128, 192, 256)
"""Batch sizes that are captured on CUDA; a step of fewer rows is padded, one of more is made in parts."""
SPARE_SLOTS: Final = 8
"""Slots beyond those of sessions, for copies that decode the end of a turn."""


class Emitted(NamedTuple):
    """A token, the frame of its step (0 to R) that it was emitted at, and its log-probability without key terms."""

    token: int
    frame: int
    log_probability: float


@dataclass(frozen=True, slots=True)
class RowResult:
    """What one slot's step found; ``blank_posteriors`` has one probability for each of its R + 1 frames."""

    tokens: tuple[Emitted, ...]
    blank_posteriors: tuple[float, ...]


class SlotModel:
    """Any set of slots of a lane advances in one batch; slots begin, skip, copy and end independently.

    ``slots`` are for sessions, and ``spare_slots`` from there on for copies. Not for use by several threads.
    """

    def __init__(
        self, loaded: Loaded, *, slots: int, lookaheads: Sequence[int], buckets: Sequence[int] | None = None
    ) -> None:
        """Allocate everything. ``buckets`` None: those of CUDA, and exact sizes on a CPU. Raises ModelError."""
        unknown = set(lookaheads) - set(loaded.facts.lookaheads)
        if unknown or not lookaheads:
            raise ModelError(f"lookaheads {sorted(unknown)}: expected some of {sorted(loaded.facts.lookaheads)}")
        self.facts: ModelFacts = loaded.facts
        self.slots = slots
        self.spare_slots = SPARE_SLOTS
        self.device = loaded.device
        self.lanes = {one: Lane(one, loaded.facts.left_context_frames) for one in lookaheads}
        self._pad_slot = slots + SPARE_SLOTS
        self._buckets = tuple(buckets or (BUCKETS if self.device.type == "cuda" else ()))
        self._steps: dict[tuple[int, int], Step | CapturedStep] = {}
        self._graph_memory = torch.cuda.graph_pool_handle() if self.device.type == "cuda" else None
        model = loaded.model
        with torch.inference_mode():
            window = max(lane.window for lane in self.lanes.values())
            self._pools = Pools.allocate(model, slots=slots + SPARE_SLOTS + 1, window=window)
            self._terms = KeytermPools(slots=slots + SPARE_SLOTS + 1, device=self.device)
            self._features = LogMel(loaded.extractor, self.device)
            self._encoders = {one: EncoderStep(model, self._pools, lane) for one, lane in self.lanes.items()}
            head = Head.of(model)
            self._decoders = {
                one: DecoderStep(model, self._pools, self._terms, head=head, frames=lane.frames)
                for one, lane in self.lanes.items()
            }
            self._start = self._predictor_start(model)
        self.precision = name_of(self._pools.output.dtype)
        self._default_prompt = int(getattr(model.config, "default_prompt_id", 0))
        for slot in range(self._pad_slot + 1):
            self.reset(slot)

    @classmethod
    def load(
        cls,
        folder: Path,
        *,
        device: str,
        precision: str,
        slots: int,
        lookaheads: Sequence[int],
        buckets: Sequence[int] | None = None,
    ) -> "SlotModel":
        """Load the model of ``folder`` onto ``device`` (cpu, cuda, cuda:N). Raises ModelError."""
        loaded = load(folder, device=device, precision=precision)
        return cls(loaded, slots=slots, lookaheads=lookaheads, buckets=buckets)

    @property
    def bytes_per_slot(self) -> int:
        """Memory that a slot takes of the device."""
        return self._pools.bytes_per_slot() + self._terms.bytes_per_slot()

    @torch.inference_mode()
    def warm_up(self) -> None:
        """Run every lane in every size once, and capture it on CUDA; slots in use would be disturbed."""
        for lookahead, lane in self.lanes.items():
            for rows in self._buckets or (1, min(8, self.slots)):
                step = self._step(lookahead, rows)
                step.load(np.full(rows, self._pad_slot), np.zeros((rows, lane.step_samples), np.int16))
                step.encode()
                step.decode(biased=True)
                step.decode(biased=False)
                step.result()
        self.reset(self._pad_slot)

    @torch.inference_mode()
    def reset(self, slot: int) -> None:
        """Begin anew in ``slot``: no audio heard, no token emitted, no key terms, the default language."""
        pools = self._pools
        for tensor in pools.by_slot():
            tensor[slot].zero_()
        pools.fresh[slot] = True
        hidden, cell, output = self._start
        pools.hidden[:, slot] = hidden
        pools.cell[:, slot] = cell
        pools.output[slot] = output
        pools.prompt[slot] = self._default_prompt
        self._terms.set(slot, keyterms.EMPTY)

    @torch.inference_mode()
    def copy(self, source: int, target: int) -> None:
        """Give ``target`` everything that ``source`` remembers; ``source`` is not changed."""
        self._pools.copy(source, target)
        self._terms.copy(source, target)

    @torch.inference_mode()
    def set_prompt(self, slot: int, prompt: int) -> None:
        """Hear ``slot`` in another language from here on (a multilingual model)."""
        self._pools.prompt[slot] = prompt

    @torch.inference_mode()
    def set_keyterms(self, slot: int, terms: Sequence[tuple[int, ...]]) -> None:
        """Favour ``terms``, as tokens, from here on; none clears. Raises KeytermError."""
        self._terms.set(slot, keyterms.build(terms))
        self._pools.keyterm[slot] = 0

    @torch.inference_mode()
    def step(self, lookahead: int, slots: Sequence[int], audio: NDArray[np.int16]) -> list[RowResult]:
        """Advance each of ``slots``, all different, by one step of audio [rows, 1280 (R + 1)].

        A slot's first step has its 1280 R + 256 samples on the right; what is left of them means nothing.
        """
        results: list[RowResult] = []
        most = self._buckets[-1] if self._buckets else len(slots)
        for first in range(0, len(slots), max(most, 1)):
            part = slice(first, first + most)
            results.extend(self._part(lookahead, list(slots[part]), audio[part]))
        return results

    def _part(self, lookahead: int, slots: list[int], audio: NDArray[np.int16]) -> Iterator[RowResult]:
        count = len(slots)
        rows = next((bucket for bucket in self._buckets if bucket >= count), count)
        step = self._step(lookahead, rows)
        if rows > count:
            slots = slots + [self._pad_slot] * (rows - count)
            audio = np.pad(audio, ((0, rows - count), (0, 0)))
        step.load(np.asarray(slots, np.int64), audio)
        step.encode()
        biased = self._terms.any_of(slots)
        decoder = self._decoders[lookahead]
        parts: list[NDArray[np.float32]] = []
        while not parts or (parts[-1][:, -1] < decoder.frames).any():
            step.decode(biased=biased)
            parts.append(step.result())
        return (_row(decoder, [part[row] for part in parts]) for row in range(count))

    def _step(self, lookahead: int, rows: int) -> Step | CapturedStep:
        step = self._steps.get((lookahead, rows))
        if step is None:
            step = plain = Step(
                self.lanes[lookahead],
                rows=rows,
                pools=self._pools,
                features=self._features,
                encoder=self._encoders[lookahead],
                decoder=self._decoders[lookahead],
            )
            if self.device.type == "cuda":
                plain.load(np.full(rows, self._pad_slot), np.zeros((rows, plain.lane.step_samples), np.int16))
                step = CapturedStep(plain, self._graph_memory)
            self._steps[lookahead, rows] = step
        return step

    def _predictor_start(self, model: Any) -> tuple[torch.Tensor, ...]:
        """State of the predictor before any token: it has seen one blank."""
        pools = self._pools
        blank = torch.full((1,), model.config.blank_token_id, dtype=torch.long, device=self.device)
        hidden, cell, output = predicted(
            model, blank, torch.zeros_like(pools.hidden[:, :1]), torch.zeros_like(pools.cell[:, :1])
        )
        return hidden[:, 0], cell[:, 0], output[0]


def _row(decoder: DecoderStep, calls: list[NDArray[np.float32]]) -> RowResult:
    """Read one row of the results of the calls that a step took."""
    count, tokens = decoder.iterations, []
    posteriors = [-1.0] * decoder.frames
    for call in calls:
        emitted = np.flatnonzero(call[:count] >= 0)
        tokens += [Emitted(int(call[i]), int(call[count + i]), float(call[2 * count + i])) for i in emitted]
        for frame, posterior in enumerate(call[3 * count : 3 * count + decoder.frames]):
            if posterior >= 0:
                posteriors[frame] = float(posterior)
    return RowResult(tuple(tokens), tuple(posteriors))
