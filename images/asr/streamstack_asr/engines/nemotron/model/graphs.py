"""CUDA graphs of a step: one launch instead of thousands."""

from collections.abc import Callable

import torch

from streamstack_asr.engines.nemotron.model.steps import Step

_WARM_RUNS = 3  # libraries choose their algorithms and take their workspaces before a capture (torch.cuda.graph)


class CapturedStep:
    """A ``Step`` whose work on the device is replayed. Made before the server is ready: a capture stalls everything."""

    def __init__(self, step: Step, pool: object) -> None:
        """Capture encoder, decoder and biased decoder; ``pool`` is the memory all graphs of a model share."""
        self._step = step
        self._encode = _captured(step.encode, pool)
        self._decode = _captured(lambda: step.decode(biased=False), pool)
        self._decode_biased = _captured(lambda: step.decode(biased=True), pool)
        self.rows = step.rows
        self.load = step.load
        self.result = step.result

    def encode(self) -> None:
        """As ``Step.encode``."""
        self._encode.replay()

    def decode(self, *, biased: bool) -> None:
        """As ``Step.decode``."""
        (self._decode_biased if biased else self._decode).replay()


def _captured(work: Callable[[], None], pool: object) -> torch.cuda.CUDAGraph:
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(_WARM_RUNS):
            work()
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, pool=pool):
        work()
    return graph
