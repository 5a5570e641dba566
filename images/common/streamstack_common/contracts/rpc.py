"""Names of the contract's calls and the limits both ends keep; the messages are in ``asr_pb2``."""

from typing import Final

CONTRACT_VERSION: Final = "1.1"

LINK: Final = "/streamstack.asr.v1.Recognizer/Link"
TRANSCRIBE: Final = "/streamstack.asr.v1.Recognizer/Transcribe"
DESCRIBE: Final = "/streamstack.asr.v1.Recognizer/Describe"
SERVICE: Final = "streamstack.asr.v1.Recognizer"

SAMPLE_RATE: Final = 16_000
"""Samples per second of everything on a link."""

BYTES_PER_SAMPLE: Final = 2

MAX_MESSAGE_BYTES: Final = 1 << 20
"""Audio in one link message; gRPC's own default limit is 4 MB and exceeding it kills all sessions of the link."""

PROFILE_WINDOW_SAMPLES: Final = 512
"""Audio of one byte of ``Hypothesis.speech_profile``: 32 ms."""

PROFILE_CERTAIN: Final = 255
"""The byte that means a probability of 1."""

HEARTBEAT_SECONDS: Final = 0.25
MISSED_HEARTBEATS: Final = 8
"""Silent intervals after which the other end counts as frozen; well above a busy process's scheduling delay."""

AUTHORIZATION: Final = "authorization"
MODEL_VERSION: Final = "x-model-version"
"""The balancer routes on it (seed nginx configuration)."""


def samples_to_ms(samples: int) -> int:
    """Position on the audio clock in whole milliseconds, rounded down."""
    return samples * 1000 // SAMPLE_RATE


def ms_to_samples(ms: int) -> int:
    """Count of samples that last ``ms`` milliseconds."""
    return ms * SAMPLE_RATE // 1000
