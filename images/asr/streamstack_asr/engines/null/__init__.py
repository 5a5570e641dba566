"""No model at all: words out of nothing at a steady pace, to load everything around an engine."""

from streamstack_asr.engines.base import AsrEngine
from streamstack_asr.engines.null.engine import NullEngine
from streamstack_asr.engines.options import EngineOptions


def create(options: EngineOptions) -> AsrEngine:
    """Build the engine for the routing names; nothing else concerns it, there is nothing to decode."""
    return NullEngine(options.models)
