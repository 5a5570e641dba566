"""Which engine answers to which name.

Each engine is a package (or module) with ``create(options: EngineOptions) -> AsrEngine``; it is imported only when
chosen, because an image installs the libraries of its own engine and no other. ``create`` only builds the object: no
process, no model, no thread. It raises EngineError for options it cannot use.
"""

import importlib
from collections.abc import Callable
from typing import Final, NamedTuple, cast

from streamstack_asr.engines.base import AsrEngine, EngineError
from streamstack_asr.engines.options import EngineOptions


class _Source(NamedTuple):
    module: str
    extra: str


ENGINES: Final = {
    "sphinx": _Source("streamstack_asr.engines.sphinx", "sphinx"),
    "nemotron": _Source("streamstack_asr.engines.nemotron", "nemotron"),
    "scripted": _Source("streamstack_asr.engines.scripted", "asr"),
    "null": _Source("streamstack_asr.engines.null", "asr"),
}
"""Engine name -> module and the extra of the ``streamstack`` distribution that brings its libraries."""


def create(name: str, options: EngineOptions) -> AsrEngine:
    """Build the engine ``name``.

    Raises EngineError when the name is unknown, the engine is not installed or cannot be had with these options.
    """
    source = ENGINES.get(name)
    if source is None:
        raise EngineError(f"unknown engine {name!r}: expected one of {', '.join(sorted(ENGINES))}")
    try:
        module = importlib.import_module(source.module)
        return cast(Callable[[EngineOptions], AsrEngine], module.create)(options)
    except ModuleNotFoundError as error:
        raise EngineError(
            f"engine {name!r} is not installed here (no module {error.name}): "
            f"install the distribution with its extra {source.extra!r}"
        ) from error
