"""Greedy RNN-T over a step's encoder frames: a fixed number of iterations, no look at the result in between.

Row by row the same tokens as the plain loop "emit until blank, then go to the next frame": a row that has nothing left
to do idles through the rest, and one that needs more iterations than a call has is continued by the next call.
"""

from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import torch
from torch.nn import functional

from streamstack_asr.engines.nemotron.model.biasing import KeytermPools
from streamstack_asr.engines.nemotron.model.pools import Pools

SPARE_ITERATIONS: Final = 6
"""Beyond one a frame: a call emits as many tokens. More than that in one step is rare."""


class Head(NamedTuple):
    """The joint's last layer in fp32, [vocabulary, size] and [vocabulary]; all lanes share it."""

    weight: torch.Tensor
    bias: torch.Tensor

    @classmethod
    def of(cls, model: Any) -> "Head":
        """Take it from transformers' model."""
        head = model.joint.head
        return cls(head.weight.float(), head.bias.float())


@dataclass(frozen=True, slots=True)
class Progress:
    """Where the rows of a step stand: the frame each is at, and how many symbols it has emitted there; both [rows]."""

    frame: torch.Tensor
    symbols: torch.Tensor

    @classmethod
    def start(cls, rows: int, device: torch.device) -> "Progress":
        """At the first frame."""
        return cls(*(torch.zeros(rows, dtype=torch.long, device=device) for _ in range(2)))


class DecoderStep:
    """The decoder of steps of ``frames`` encoder frames."""

    def __init__(self, model: Any, pools: Pools, terms: KeytermPools, *, head: Head, frames: int) -> None:
        self._model = model
        self._pools = pools
        self._terms = terms
        self._blank: int = model.config.blank_token_id
        self._most_symbols: int = model.config.max_symbols_per_step
        self._head = head
        self.frames = frames
        self.iterations = frames + SPARE_ITERATIONS

    @property
    def width(self) -> int:
        """Columns of a result: tokens, their frames and log-probabilities, blank posteriors, the frame reached."""
        return 3 * self.iterations + self.frames + 1

    def __call__(self, slots: torch.Tensor, encoded: torch.Tensor, progress: Progress, *, biased: bool) -> torch.Tensor:
        """Decode ``encoded`` [rows, frames, size] from ``progress`` on, which is moved; [rows, width] in fp32.

        A column without a token has -1. A posterior is that of blank when its frame was left, -1 where it was not yet.
        """
        pools = self._pools
        hidden, cell = pools.hidden[:, slots], pools.cell[:, slots]
        output, term = pools.output[slots], pools.keyterm[slots]
        edges = self._terms.of(slots) if biased else None
        rows = torch.arange(len(slots), device=slots.device)
        frame, symbols = progress.frame, progress.symbols
        blanks = torch.full((len(slots), self.frames), -1.0, device=slots.device)
        tokens, frames, scores = [], [], []
        for _ in range(self.iterations):
            active = frame < self.frames
            here = frame.clamp(max=self.frames - 1)
            log_probabilities = self._log_probabilities(encoded[rows, here], output)
            choice = log_probabilities if edges is None else edges.biased(log_probabilities, term, blank=self._blank)
            token = choice.argmax(-1)
            score = log_probabilities.gather(1, token[:, None])[:, 0]
            emit = active & (token != self._blank) & score.isfinite()  # NaN says nothing, it does not babble
            tokens.append(torch.where(emit, token, -1))
            frames.append(here)
            scores.append(score)
            posterior = log_probabilities[:, self._blank].exp().nan_to_num(nan=1.0)
            blanks = blanks.scatter(1, here[:, None], torch.where(active, posterior, blanks[rows, here])[:, None])
            hidden, cell, output = self._predict(token, emit, hidden, cell, output)
            if edges is not None:
                term = torch.where(emit, edges.after(term, token), term)
            symbols = torch.where(emit, symbols + 1, 0)
            leave = active & (~emit | (symbols >= self._most_symbols))
            frame = frame + leave.long()
            symbols = torch.where(leave, 0, symbols)
        progress.frame.copy_(frame)
        progress.symbols.copy_(symbols)
        pools.hidden.index_copy_(1, slots, hidden)
        pools.cell.index_copy_(1, slots, cell)
        pools.output.index_copy_(0, slots, output)
        pools.keyterm.index_copy_(0, slots, term)
        columns = [torch.stack(part, 1).float() for part in (tokens, frames, scores)]
        return torch.cat([*columns, blanks, frame[:, None].float()], dim=1)

    def _log_probabilities(self, encoded: torch.Tensor, predicted: torch.Tensor) -> torch.Tensor:
        """Of every token [rows, vocabulary], in fp32 from the last product on: bf16 leaves ties."""
        joined = self._model.joint.activation(encoded + predicted).float()
        return functional.linear(joined, *self._head).log_softmax(-1)

    def _predict(
        self, token: torch.Tensor, emit: torch.Tensor, hidden: torch.Tensor, cell: torch.Tensor, output: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Advance the predictor of the rows that emitted."""
        new_hidden, new_cell, new_output = predicted(self._model, token, hidden, cell)
        kept = emit[None, :, None]
        return (
            torch.where(kept, new_hidden, hidden),
            torch.where(kept, new_cell, cell),
            torch.where(emit[:, None], new_output, output),
        )


def predicted(
    model: Any, token: torch.Tensor, hidden: torch.Tensor, cell: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """One step of the prediction network; its state and what the joint takes of it [rows, size]."""
    decoder = model.decoder
    out, (hidden, cell) = decoder.lstm(decoder.embedding(token)[:, None], (hidden.contiguous(), cell.contiguous()))
    return hidden, cell, decoder.decoder_projector(out)[:, 0]
