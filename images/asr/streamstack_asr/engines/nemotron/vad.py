"""Whether somebody speaks, for many sessions at once: the Silero voice detector on the CPU.

The model (silero/, MIT license, from the package silero-vad 6.2.3) takes windows of 512 samples at 16 kHz with the 64
samples before them, and a state of two vectors of 128; sessions are rows of one batch.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from streamstack_asr.engines.nemotron.facts import SAMPLE_RATE, ModelError

WINDOW_SAMPLES: Final = 512
CONTEXT_SAMPLES: Final = 64
STATE: Final = (2, 128)
FULL_SCALE: Final = 32_768.0
MODEL: Final = Path(__file__).parent / "silero" / "silero_vad_16k_op15.onnx"
SHA256: Final = "7ed98ddbad84ccac4cd0aeb3099049280713df825c610a8ed34543318f1b2c49"

Windows = tuple[float, ...]


class VoiceDetector:
    """Probabilities of speech of ``slots`` sessions; not for use by several threads."""

    def __init__(self, slots: int, *, model: Path = MODEL) -> None:
        """Load the model. Raises ModelError when the file is missing or another one."""
        self._session = _load(model)
        self._states = np.zeros((STATE[0], slots, STATE[1]), np.float32)
        # The audio that the next window begins with: 64 samples of context, then those of no whole window yet.
        self._context = np.zeros((slots, CONTEXT_SAMPLES), np.float32)
        self._rest: list[NDArray[np.int16]] = [np.zeros(0, np.int16) for _ in range(slots)]

    def reset(self, slot: int) -> None:
        """Begin anew in ``slot``."""
        self._states[:, slot] = 0
        self._context[slot] = 0
        self._rest[slot] = np.zeros(0, np.int16)

    def probabilities(self, rows: Sequence[tuple[int, NDArray[np.int16]]]) -> list[Windows]:
        """Take audio of slots, all different; for each the probability of every window that it completed."""
        audio = [np.concatenate([self._rest[slot], pcm]) for slot, pcm in rows]
        counts = [len(pcm) // WINDOW_SAMPLES for pcm in audio]
        found: list[list[float]] = [[] for _ in rows]
        for window in range(max(counts, default=0)):
            due = [row for row, count in enumerate(counts) if count > window]
            first = window * WINDOW_SAMPLES
            samples = np.stack([audio[row][first : first + WINDOW_SAMPLES] for row in due]).astype(np.float32)
            speech = self._run(np.array([rows[row][0] for row in due]), samples / FULL_SCALE)
            for row, probability in zip(due, speech, strict=True):
                found[row].append(float(probability))
        for (slot, _), pcm, count in zip(rows, audio, counts, strict=True):
            self._rest[slot] = pcm[count * WINDOW_SAMPLES :].copy()
        return [tuple(windows) for windows in found]

    def _run(self, slots: NDArray[np.int64], samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """One window of each slot: samples [rows, 512]; probabilities [rows]."""
        inputs = {
            "input": np.concatenate([self._context[slots], samples], axis=1),
            "state": self._states[:, slots],
            "sr": np.array(SAMPLE_RATE, np.int64),
        }
        speech, states = self._session.run(("output", "stateN"), inputs)
        self._states[:, slots] = states
        self._context[slots] = samples[:, -CONTEXT_SAMPLES:]
        probabilities: NDArray[np.float32] = speech[:, 0]
        return probabilities


def _load(path: Path) -> Any:
    import onnxruntime

    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror}, expected the voice detector's model") from error
    found = hashlib.sha256(content).hexdigest()
    if found != SHA256:
        raise ModelError(f"{path}: its SHA-256 is {found}, expected {SHA256}")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
