"""From options to what runs: the model's folder, the device, and what each worker is told. torch is not needed here."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from streamstack_asr.engines.base import EngineDescription, EngineError
from streamstack_asr.engines.nemotron import gpu, languages, nvml
from streamstack_asr.engines.nemotron.config import WorkerConfig, chunk_ms_of, lookaheads
from streamstack_asr.engines.nemotron.facts import FRAME_MS, read_object
from streamstack_asr.engines.nemotron.pieces import TOKENIZER
from streamstack_asr.engines.nemotron.store import ModelFolder
from streamstack_asr.engines.options import EngineOptions

WINDOW_MS: Final = 10_000
SPARE_SHARE: Final = 8
"""A worker has room for an eighth more than its share of the sessions: they end as they like, not evenly."""
_SENTENCE_MARKS: Final = frozenset(".,?")


@dataclass(frozen=True, slots=True)
class WorkerPlan:
    """One worker: its configuration, and what its environment has beyond the server's."""

    config: WorkerConfig
    environment: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Setup:
    """Everything that is decided before a worker is started."""

    workers: tuple[WorkerPlan, ...]
    description: EngineDescription


def unstarted(options: EngineOptions) -> EngineDescription:
    """Describe the engine while its model is not known."""
    return EngineDescription(engine="nemotron", models=options.models, chunk_ms=0, left_context_ms=0, batch=True)


def plan(options: EngineOptions, model: ModelFolder, environment: Mapping[str, str] = os.environ) -> Setup:
    """Decide. Raises EngineError."""
    facts = model.facts
    frames = lookaheads(options.chunk_ms, options.models, facts)
    gpus = visible_gpus(environment) if options.device != "cpu" else ()
    if options.device == "cuda" and not gpus:
        gpus = ("0",)  # its worker says what is missing: the driver, the GPU, or torch with CUDA
    count = options.workers or max(1, len(gpus))
    cores = len(os.sched_getaffinity(0))
    share = -(-options.slots // count)
    config = WorkerConfig(
        folder=str(model.path),
        device="cuda" if gpus else "cpu",
        precision=options.precision,
        slots=share if count == 1 else share + max(1, share // SPARE_SHARE),
        lookaheads=frames,
        threads=1 if gpus else max(1, cores // count),
    )
    workers = tuple(WorkerPlan(config, _environment(config, gpus, index)) for index in range(count))
    description = EngineDescription(
        engine="nemotron",
        models=options.models,
        chunk_ms=chunk_ms_of(min(frames.values())),
        left_context_ms=facts.left_context_frames * FRAME_MS,
        window_ms=WINDOW_MS,
        languages=languages.offered(facts),
        keyterms=True,
        punctuation=_has_punctuation(model),
        batch=True,
        model=model.name,
    )
    return Setup(workers, description)


def visible_gpus(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Name the GPUs as CUDA_VISIBLE_DEVICES does: those it lists, else all that the driver shows."""
    listed = environment.get("CUDA_VISIBLE_DEVICES")
    driver, found = gpu.look(nvml.load())
    if driver is None:
        return ()
    if listed is None:
        return tuple(str(index) for index in range(len(found)))
    names = [name.strip() for name in listed.split(",")]
    usable = next((at for at, name in enumerate(names) if name in ("", "-1")), len(names))
    return tuple(names[:usable])


def check(options: EngineOptions) -> None:
    """Refuse what no model can make good. Raises EngineError."""
    if not options.models or not all(options.models):
        raise EngineError(f"the nemotron engine has the models {options.models!r}: expected at least one routing name")
    if options.workers < 0 or options.slots < 1:
        raise EngineError(
            f"the nemotron engine has {options.workers} workers and {options.slots} slots: "
            "expected 0 (one for each GPU) or more, and at least 1"
        )


def _environment(config: WorkerConfig, gpus: tuple[str, ...], index: int) -> dict[str, str]:
    """A worker sees its own GPU alone, as the first; the libraries' thread pools are told what it may use.

    Their threads wait asleep (OpenMP 5.2, 6.7): where somebody else has one of the cores, threads that wait busily for
    the one that lost its core make a step several times slower (measured: 2.2 s became 11.7 s on two busy cores).
    """
    threads = str(config.threads)
    found = {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads, "OMP_WAIT_POLICY": "PASSIVE"}
    if gpus:
        found["CUDA_VISIBLE_DEVICES"] = gpus[index % len(gpus)]
    return found


def _has_punctuation(model: ModelFolder) -> bool:
    """Whether the vocabulary has the marks of sentences."""
    vocabulary = read_object(model.path / TOKENIZER).get("model", {}).get("vocab", {})
    pieces = vocabulary if isinstance(vocabulary, dict) else (entry[0] for entry in vocabulary)
    return {str(piece).lstrip("▁") for piece in pieces} >= _SENTENCE_MARKS
