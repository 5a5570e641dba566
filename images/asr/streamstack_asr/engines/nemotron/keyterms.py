"""Key terms as a prefix tree over tokens, and the tables that the decoder reads it from. Pure.

A tree is a list of edges: from a state, by a token, to a state. State 0 is the root, where every term begins; a
decoder that is inside a term may go on in it or begin another one.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from streamstack_asr.engines.base import EngineError

MAX_TERMS: Final = 200
"""The 100 that a session may name (the protocol's ``keyterms_prompt``), each as it is and with a capital."""
MAX_EDGES: Final = 1_024
"""Tokens of all terms together, prefixes shared: what the tables of one slot hold."""

FIRST_BONUS: Final = 1.5
STEP_BONUS: Final = 0.75
LARGEST_BONUS: Final = 4.0
"""Added to a token's log-probability: more the deeper it lies, since more of the term has been heard by then."""


class KeytermError(EngineError):
    """Terms that cannot be favoured: the message says how many there were and how many are taken."""


@dataclass(frozen=True, slots=True)
class KeytermTree:
    """Edges in parallel: ``sources[i]`` --``tokens[i]``--> ``targets[i]``, which adds ``bonuses[i]``."""

    sources: tuple[int, ...] = ()
    tokens: tuple[int, ...] = ()
    targets: tuple[int, ...] = ()
    bonuses: tuple[float, ...] = ()

    def __bool__(self) -> bool:
        """Tell whether any term is in it."""
        return bool(self.tokens)


EMPTY: Final = KeytermTree()


def build(terms: Iterable[tuple[int, ...]]) -> KeytermTree:
    """Build the tree of ``terms``, each a sequence of tokens; empty ones are no terms. Raises KeytermError."""
    known = dict.fromkeys(term for term in terms if term)
    if len(known) > MAX_TERMS:
        raise KeytermError(f"{len(known)} key terms: expected at most {MAX_TERMS}")
    edges: dict[tuple[int, int], int] = {}
    bonuses: list[float] = []
    for term in known:
        state = 0
        for depth, token in enumerate(term):
            target = edges.get((state, token))
            if target is None:
                target = edges[state, token] = len(edges) + 1
                bonuses.append(min(FIRST_BONUS + STEP_BONUS * depth, LARGEST_BONUS))
            state = target
    if len(edges) > MAX_EDGES:
        raise KeytermError(f"key terms of {len(edges)} tokens in all: expected at most {MAX_EDGES}")
    return KeytermTree(
        sources=tuple(source for source, _ in edges),
        tokens=tuple(token for _, token in edges),
        targets=tuple(edges.values()),
        bonuses=tuple(bonuses),
    )
