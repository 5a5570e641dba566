"""Everything a worker works with, made from a model folder. torch is imported here, in the worker's process alone."""

import logging
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from streamstack_asr.engines.base import SessionConfig, SessionStart
from streamstack_asr.engines.nemotron import gpu, timing
from streamstack_asr.engines.nemotron.config import WorkerConfig
from streamstack_asr.engines.nemotron.facts import ModelFacts
from streamstack_asr.engines.nemotron.gpu import GpuError
from streamstack_asr.engines.nemotron.keyterms import MAX_EDGES, MAX_TERMS
from streamstack_asr.engines.nemotron.languages import prompt_of
from streamstack_asr.engines.nemotron.pieces import Pieces
from streamstack_asr.engines.nemotron.recognition.recognition import Recognition
from streamstack_asr.engines.nemotron.timing import Timing
from streamstack_asr.engines.nemotron.vad import VoiceDetector
from streamstack_asr.engines.nemotron.worker.machinery import Asked, Machinery

logger = logging.getLogger(__name__)


def assemble(config: WorkerConfig) -> Machinery:
    """Load and warm up. Raises EngineError: ModelError, GpuError."""
    os.environ["HF_HUB_OFFLINE"] = "1"  # read when transformers is imported: nothing is fetched by this process
    import torch
    import transformers

    from streamstack_asr.engines.nemotron.model.slot_model import SlotModel

    transformers.utils.logging.disable_progress_bar()
    torch.set_num_threads(config.threads)
    on_gpu = config.device == "cuda"
    if on_gpu:
        gpu.check_device(0)
    folder = Path(config.folder)
    used = tuple(dict.fromkeys(config.lookaheads.values()))
    pieces = Pieces.load(folder)
    timings = {lookahead: timing.read(folder, lookahead) for lookahead in used}
    try:
        model = SlotModel.load(
            folder, device=config.device, precision=config.precision, slots=config.slots, lookaheads=used
        )
        model.warm_up()
    except torch.OutOfMemoryError as error:
        raise GpuError(f"the GPU has no room for {config.slots} sessions, expected fewer slots: {error}") from error
    return Machinery(
        model=model,
        detector=VoiceDetector(config.slots),
        recogniser=partial(_recogniser, pieces, timings),
        asked=partial(_asked, pieces, model.facts),
        lookaheads=config.lookaheads,
        slots=config.slots,
        about={
            "device": torch.cuda.get_device_name(0) if on_gpu else "cpu",
            "precision": model.precision,
        },
        aside=ThreadPoolExecutor(1, "voice") if on_gpu else None,
    )


def _recogniser(pieces: Pieces, timings: dict[int, Timing], start: SessionStart, lookahead: int) -> Recognition:
    return Recognition(start, pieces=pieces, timing=timings[lookahead])


def _asked(pieces: Pieces, facts: ModelFacts, config: SessionConfig) -> Asked:
    terms = pieces.encode(config.keyterms) if config.keyterms else ()
    return Asked(fitting(terms), prompt_of(config.language, facts))


def fitting(terms: Iterable[tuple[int, ...]]) -> tuple[tuple[int, ...], ...]:
    """Return as many of ``terms``, from the first on, as a slot's tables hold; says how many were left out."""
    terms = tuple(terms)
    kept, tokens = 0, 0
    for term in terms[:MAX_TERMS]:
        tokens += len(term)
        if tokens > MAX_EDGES:
            break
        kept += 1
    if kept < len(terms):
        logger.warning("key terms: %d of %d spellings are favoured, the tables hold no more", kept, len(terms))
    return terms[:kept]
