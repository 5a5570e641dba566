"""The CPU engine that needs no download: pocketsphinx with the US-English model its wheel carries."""

import importlib.util

from streamstack_asr.engines.base import AsrEngine, EngineError
from streamstack_asr.engines.options import EngineOptions

if importlib.util.find_spec("pocketsphinx") is None:  # not imported: only worker processes hold the model
    raise ModuleNotFoundError("pocketsphinx is needed by the sphinx engine", name="pocketsphinx")


def create(options: EngineOptions) -> AsrEngine:
    """Build the engine; every routing name is served by the one English model.

    ``options.workers`` is how many processes stand ready, 0 for one per usable core. Raises EngineError for options
    that cannot be.
    """
    from streamstack_asr.engines.sphinx.engine import SphinxEngine

    models, workers = options.models, options.workers
    if not models or not all(models):
        raise EngineError(f"the sphinx engine was given the models {models!r}: expected at least one routing name")
    if workers < 0:
        raise EngineError(f"the sphinx engine was given {workers} workers: expected 0 (one per core) or more")
    return SphinxEngine(models=models, workers=workers)
