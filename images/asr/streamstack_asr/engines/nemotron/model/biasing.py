"""Every slot's key terms in tensors of fixed addresses, and what they add to the decoder's scores."""

import math
from typing import NamedTuple

import torch

from streamstack_asr.engines.nemotron.keyterms import MAX_EDGES, MOST_BLANK, KeytermTree

NO_TOKEN = -1


class Edges(NamedTuple):
    """The edges of a batch's rows [rows, edges]; unused ones have the source ``NO_TOKEN``."""

    sources: torch.Tensor
    tokens: torch.Tensor
    targets: torch.Tensor
    bonuses: torch.Tensor

    def favoured(self, states: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Which edges go on from ``states`` [rows], and which begin a term: both [rows, edges]."""
        return self.sources == states[:, None], self.sources == 0

    def biased(self, scores: torch.Tensor, states: torch.Tensor, *, blank: int) -> torch.Tensor:
        """Log-probabilities [rows, vocabulary] with the bonus of every token that goes on in a term or begins one.

        A token that does both has the larger bonus, not both. Where ``blank`` is all but certain none has one.
        """
        going_on, beginning = self.favoured(states)
        said = scores[:, blank, None] < math.log(MOST_BLANK)
        bonus = torch.where((going_on | beginning) & said, self.bonuses, 0.0)
        best = torch.zeros_like(scores).scatter_reduce(1, self.tokens.clamp(min=0), bonus, "amax")
        return scores + best

    def after(self, states: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """The states [rows] after ``tokens`` [rows] were emitted: on in a term, at the start of another, or outside."""
        going_on, beginning = self.favoured(states)
        same = self.tokens == tokens[:, None]
        on = torch.where(going_on & same, self.targets, 0).amax(1)
        fresh = torch.where(beginning & same, self.targets, 0).amax(1)
        return torch.where(on > 0, on, fresh)


class KeytermPools:
    """Tables of every slot."""

    def __init__(self, *, slots: int, device: torch.device) -> None:
        shape = (slots, MAX_EDGES)
        self._whole = Edges(
            sources=torch.full(shape, NO_TOKEN, dtype=torch.long, device=device),
            tokens=torch.full(shape, NO_TOKEN, dtype=torch.long, device=device),
            targets=torch.zeros(shape, dtype=torch.long, device=device),
            bonuses=torch.zeros(shape, dtype=torch.float32, device=device),
        )
        self._used: dict[int, int] = {}

    def set(self, slot: int, tree: KeytermTree) -> None:
        """Give a slot other terms."""
        self._whole.sources[slot].fill_(NO_TOKEN)
        self._used.pop(slot, None)
        if not tree:
            return
        count = len(tree.tokens)
        columns = (tree.sources, tree.tokens, tree.targets, tree.bonuses)
        for table, column in zip(self._whole, columns, strict=True):
            table[slot, :count] = torch.tensor(column, dtype=table.dtype)
        self._used[slot] = count

    def copy(self, source: int, target: int) -> None:
        """Give ``target`` the terms of ``source``."""
        for table in self._whole:
            table[target].copy_(table[source])
        self._used.pop(target, None)
        if source in self._used:
            self._used[target] = self._used[source]

    def bytes_per_slot(self) -> int:
        """Memory of one slot."""
        return sum(table[0].numel() * table.element_size() for table in self._whole)

    def any_of(self, slots: list[int]) -> bool:
        """Tell whether any of these slots has terms."""
        return any(slot in self._used for slot in slots)

    def of(self, slots: torch.Tensor) -> Edges:
        """Return the edges of a batch."""
        return Edges(*(table[slots] for table in self._whole))
