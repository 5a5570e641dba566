"""What a worker is told when it starts, and how the options of the engine say it."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from streamstack_asr.engines.base import EngineError
from streamstack_asr.engines.nemotron.facts import FRAME_MS, ModelFacts


@dataclass(frozen=True, slots=True)
class WorkerConfig:
    """One worker: the model in ``folder`` on ``device`` (cpu or cuda), for ``slots`` sessions.

    ``lookaheads`` has the frames of each routing name; ``threads`` is what it may use of a CPU.
    """

    folder: str
    device: str
    precision: str
    slots: int
    lookaheads: dict[str, int]
    threads: int = 1

    def encode(self) -> bytes:
        """Write it for ``decode``."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def decode(cls, payload: bytes) -> "WorkerConfig":
        """Read what ``encode`` wrote."""
        return cls(**json.loads(payload))


def lookaheads(chunk_ms: str, models: Sequence[str], facts: ModelFacts) -> dict[str, int]:
    """Return the lookahead, in frames, that each routing name is served at.

    ``chunk_ms`` is a step in ms for all (``560``), or one for each name (``en-default=560,en-fast=160``); names that
    are left out, and an empty string, get the model's own. Raises EngineError.
    """
    found = dict.fromkeys(models, facts.default_lookahead)
    given = [part.strip() for part in chunk_ms.split(",") if part.strip()]
    if len(given) == 1 and "=" not in given[0]:
        return dict.fromkeys(models, _lookahead(given[0], facts))
    for part in given:
        model, equals, chunk = (piece.strip() for piece in part.partition("="))
        if not equals or model not in found:
            raise EngineError(
                f"CHUNK_MS has {part!r}: expected a number of ms, or NAME=MS with a name of {', '.join(models)}"
            )
        found[model] = _lookahead(chunk, facts)
    return found


def _lookahead(chunk: str, facts: ModelFacts) -> int:
    chunks = {str(ms): lookahead for ms, lookahead in zip(facts.chunks_ms, facts.lookaheads, strict=True)}
    if chunk not in chunks:
        raise EngineError(f"CHUNK_MS has {chunk!r}: this model's steps are {', '.join(sorted(chunks, key=int))} ms")
    return chunks[chunk]


def chunk_ms_of(lookahead: int) -> int:
    """Return the step of a lookahead in ms."""
    return FRAME_MS * (lookahead + 1)
