"""The CPU engine that needs no download: pocketsphinx with the US-English model its wheel carries."""

import importlib.util

from streamstack_asr.engines.base import AsrEngine, EngineError

if importlib.util.find_spec("pocketsphinx") is None:  # not imported: only worker processes hold the model
    raise ModuleNotFoundError("pocketsphinx is needed by the sphinx engine", name="pocketsphinx")


def create(*, models: tuple[str, ...], workers: int) -> AsrEngine:
    """Build the engine; every name in ``models`` is served by the one English model.

    ``workers`` is how many processes stand ready, 0 for one per usable core. Raises EngineError for other arguments.
    """
    from streamstack_asr.engines.sphinx.engine import SphinxEngine

    if not models or not all(models):
        raise EngineError(f"the sphinx engine was given the models {models!r}: expected at least one routing name")
    if workers < 0:
        raise EngineError(f"the sphinx engine was given {workers} workers: expected 0 (one per core) or more")
    return SphinxEngine(models=models, workers=workers)
