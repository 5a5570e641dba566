"""Engine ``nemotron``: cache-aware streaming FastConformer RNN-T models, on GPUs or on the CPU."""

import importlib.util
from typing import Final

from streamstack_asr.engines.base import AsrEngine
from streamstack_asr.engines.options import EngineOptions

_LIBRARIES: Final = ("torch", "transformers", "onnxruntime", "tokenizers")


def create(options: EngineOptions) -> AsrEngine:
    """Build the engine. Raises EngineError for options it cannot use, ModuleNotFoundError without its libraries."""
    for name in _LIBRARIES:  # not imported: only worker processes hold the model
        if importlib.util.find_spec(name) is None:
            raise ModuleNotFoundError(f"{name} is needed by the nemotron engine", name=name)
    from streamstack_asr.engines.nemotron.engine import NemotronEngine

    return NemotronEngine(options)
