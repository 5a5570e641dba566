"""An engine that hears exactly what is written into the samples, so that tests see every lost or doubled one."""

from streamstack_asr.engines.base import AsrEngine
from streamstack_asr.engines.options import EngineOptions
from streamstack_asr.engines.scripted.engine import ScriptedEngine


def create(options: EngineOptions) -> AsrEngine:
    """Build the engine for the routing names; nothing else concerns it, markers are read where the audio arrives."""
    return ScriptedEngine(options.models)
