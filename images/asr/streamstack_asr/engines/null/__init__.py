"""No model at all: words out of nothing at a steady pace, to load everything around an engine."""

from streamstack_asr.engines.base import AsrEngine
from streamstack_asr.engines.null.engine import NullEngine


def create(*, models: tuple[str, ...], workers: int) -> AsrEngine:
    """Build the engine; ``workers`` is ignored, there is nothing to decode."""
    del workers
    return NullEngine(models)
