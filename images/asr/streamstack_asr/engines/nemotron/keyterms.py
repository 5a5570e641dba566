"""Key terms as a prefix tree over tokens, and the tables that the decoder reads it from. Pure.

A tree is a list of edges: from a state, by a token, to a state. State 0 is the root, where every term begins; a
decoder that is inside a term may go on in it or begin another one. What it has heard may also be the beginning of
another term (the end of "new york" begins "york city"): a state has the edges of the longest such beginning too, as in
the automaton of Aho and Corasick.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from streamstack_asr.engines.base import EngineError

MAX_TERMS: Final = 200
"""The 100 that a session may name (the protocol's ``keyterms_prompt``), each as it is and with a capital."""
MAX_EDGES: Final = 1_024
"""Tokens of all terms together, prefixes shared: what the tables of one slot hold."""

FIRST_BONUS: Final = 0.3
STEP_BONUS: Final = 0.6
LARGEST_BONUS: Final = 3.0
"""Added to a token's log-probability: more the deeper it lies, since more of the term has been heard by then. Only the
next token of a term has it, so a term that breaks off keeps no advantage."""
MOST_BLANK: Final = 0.95
"""Where blank is likelier than this, nothing was said, and no term is favoured: it would be inserted."""


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
    bonus_of: dict[int, float] = {}
    for term in known:
        state = 0
        for depth, token in enumerate(term):
            target = edges.setdefault((state, token), len(edges) + 1)
            bonus_of[target] = min(FIRST_BONUS + STEP_BONUS * depth, LARGEST_BONUS)
            state = target
    if len(edges) > MAX_EDGES:
        raise KeytermError(f"key terms of {len(edges)} tokens in all: expected at most {MAX_EDGES}")
    whole = [*edges.items(), *_inherited(edges)][:MAX_EDGES]
    return KeytermTree(
        sources=tuple(source for (source, _), _ in whole),
        tokens=tuple(token for (_, token), _ in whole),
        targets=tuple(target for _, target in whole),
        bonuses=tuple(bonus_of[target] for _, target in whole),
    )


def _inherited(edges: Mapping[tuple[int, int], int]) -> list[tuple[tuple[int, int], int]]:
    """Edges that a state has because the end of what it stands for begins another term; those near the root first."""
    onward: dict[int, dict[int, int]] = {}
    for (source, token), target in edges.items():
        onward.setdefault(source, {})[token] = target
    shorter = {0: 0}
    found: list[tuple[tuple[int, int], int]] = []
    waiting = deque([0])
    while waiting:
        state = waiting.popleft()
        own = onward.get(state, {})
        if shorter[state]:
            more = {token: to for token, to in onward.get(shorter[state], {}).items() if token not in own}
            found += [((state, token), target) for token, target in more.items()]
            onward[state] = own | more
        for token, target in own.items():
            shorter[target] = _longest_end(edges, shorter, state, token) if state else 0
            waiting.append(target)
    return found


def _longest_end(edges: Mapping[tuple[int, int], int], shorter: Mapping[int, int], state: int, token: int) -> int:
    """Return the state of the longest beginning of a term that ends what ``state`` and ``token`` stand for."""
    end = shorter[state]
    while end and (end, token) not in edges:
        end = shorter[end]
    return edges.get((end, token), 0)
