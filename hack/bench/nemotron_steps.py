#!/usr/bin/env python3
"""How long a step of the real model takes, and how many streams that is: real shapes, random weights.

Streams are counted only while the 99th percentile of the step stays below the chunk. `--device cuda` also shows how
much of a step is the GPU's work.

    OMP_NUM_THREADS=1 .venv/bin/python hack/bench/nemotron_steps.py --precision bf16 --chunk-ms 160,560 --batches 1,4,16
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import machine
import numpy as np
import torch
import transformers

from streamstack_asr.engines.nemotron.facts import CLASSES, ENGLISH, FRAME_MS, MULTILINGUAL, ModelFacts
from streamstack_asr.engines.nemotron.model.loading import Loaded
from streamstack_asr.engines.nemotron.model.precision import choose, name_of
from streamstack_asr.engines.nemotron.model.slot_model import BUCKETS, SlotModel

ARCHITECTURES = {"english": ENGLISH, "multilingual": MULTILINGUAL}
LOOKAHEADS = (13, 6, 3, 1, 0)
MEL_BINS = 128
REPLAYS = 50


@dataclass(frozen=True)
class Row:
    """One batch size: times of a step in ms; ``gpu_ms`` is what a GPU works of it, None where that was not measured."""

    batch: int
    p50_ms: float
    p99_ms: float
    gpu_ms: float | None

    def streams(self, chunk_ms: int) -> float:
        """Streams in real time at this batch; none when a step now and then takes longer than its chunk."""
        return self.batch * chunk_ms / self.p50_ms if self.p99_ms < chunk_ms else 0.0


def random_model(architecture: str, device: torch.device, precision: str) -> Loaded:
    """The published sizes with weights that mean nothing; what a step costs does not depend on them."""
    encoder = transformers.NemotronAsrStreamingEncoderConfig(
        num_mel_bins=MEL_BINS, attention_bias=False, convolution_bias=False
    )
    kind = transformers.NemotronAsrStreamingConfig if architecture == ENGLISH else transformers.Nemotron3_5AsrConfig
    config = kind(encoder_config=encoder.to_dict())
    with torch.device("meta"):
        model = getattr(transformers, CLASSES[architecture])(config)
    model = model.to(choose(precision, device)).to_empty(device=device)
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.02) if parameter.dim() > 1 else parameter.fill_(1.0)
        positions = model.encoder.encode_positions
        positions.inv_freq.copy_(positions.compute_default_relative_positional_parameters(encoder))
        model.joint.head.bias[config.blank_token_id] = 100.0  # speech is mostly blank: a token every few frames
    facts = ModelFacts(
        architecture=architecture,
        mel_bins=MEL_BINS,
        hidden_size=encoder.hidden_size,
        layers=encoder.num_hidden_layers,
        heads=encoder.num_attention_heads,
        left_context_frames=encoder.sliding_window - 1,
        vocab_size=config.vocab_size,
        blank_token=config.blank_token_id,
        lookaheads=LOOKAHEADS,
        default_lookahead=LOOKAHEADS[0],
    )
    extractor = transformers.NemotronAsrStreamingFeatureExtractor(feature_size=MEL_BINS)
    return Loaded(model.eval().requires_grad_(requires_grad=False), extractor, facts, device)


def timed(work: Callable[[], Any], *, seconds: float) -> list[float]:
    """Times of ``work`` in ms for about ``seconds``, at least five."""
    times: list[float] = []
    deadline = time.perf_counter() + seconds
    while len(times) < 5 or time.perf_counter() < deadline:
        started = time.perf_counter()
        work()
        times.append((time.perf_counter() - started) * 1000)
    return times


def gpu_work_ms(model: SlotModel, lookahead: int, batch: int) -> float:
    """What the GPU needs for a step: many replays of its graphs behind each other, so that it waits for nobody."""
    rows = next(rows for rows in BUCKETS if rows >= batch)
    step = model._step(lookahead, rows)  # noqa: SLF001 - the server has no use for a step nobody waits for
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    with torch.inference_mode():
        begin.record()
        for _ in range(REPLAYS):
            step.encode()
            step.decode(biased=False)
        end.record()
    end.synchronize()
    return float(begin.elapsed_time(end)) / REPLAYS


def measure(model: SlotModel, lookahead: int, batch: int, *, seconds: float) -> Row:
    """One batch size of one lane, at most the largest bucket on a GPU."""
    audio = (np.random.default_rng(0).standard_normal((batch, model.lanes[lookahead].step_samples)) * 1000).astype("i2")
    slots = list(range(batch))
    model.step(lookahead, slots, audio)
    times = timed(lambda: model.step(lookahead, slots, audio), seconds=seconds)
    p50, p99 = np.percentile(times, [50, 99])
    on_gpu = model.device.type == "cuda" and batch <= BUCKETS[-1]
    return Row(batch, float(p50), float(p99), gpu_work_ms(model, lookahead, batch) if on_gpu else None)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=ARCHITECTURES, default="english")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--chunk-ms", default="160,560")
    parser.add_argument("--batches", default="1,4,16")
    parser.add_argument("--seconds", type=float, default=5.0, help="for each line")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    batches = [int(batch) for batch in options.batches.split(",")]
    loaded = random_model(ARCHITECTURES[options.model], device, options.precision)
    precision = name_of(choose(options.precision, device))
    print(machine.describe() if device.type == "cpu" else torch.cuda.get_device_name(device))
    for chunk_ms in map(int, options.chunk_ms.split(",")):
        lookahead = chunk_ms // FRAME_MS - 1
        model = SlotModel(loaded, slots=max(batches), lookaheads=(lookahead,))
        model.warm_up()
        print(f"{options.model}, {precision}, chunk {chunk_ms} ms, {model.bytes_per_slot / 1e6:.1f} MB a slot")
        for batch in batches:
            row = measure(model, lookahead, batch, seconds=options.seconds)
            share = "" if row.gpu_ms is None else f", {row.gpu_ms:.1f} ms of it on the GPU"
            print(
                f"  batch {batch:4d}: p50 {row.p50_ms:7.1f} ms, p99 {row.p99_ms:7.1f} ms{share}, "
                f"{row.streams(chunk_ms):7.1f} streams",
                flush=True,
            )


if __name__ == "__main__":
    main()
