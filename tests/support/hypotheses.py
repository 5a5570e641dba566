"""Short ways to write what a server says, in milliseconds instead of samples."""

from collections.abc import Sequence

from streamstack_common.contracts import asr_pb2
from streamstack_common.contracts.rpc import ms_to_samples


def word(text: str, start_ms: int, end_ms: int, *, final: bool = False, confidence: float = 0.5) -> asr_pb2.Word:
    return asr_pb2.Word(
        text=text,
        start_sample=ms_to_samples(start_ms),
        end_sample=ms_to_samples(end_ms),
        confidence=confidence,
        is_final=final,
    )


def hypothesis(
    words: Sequence[asr_pb2.Word] = (),
    *,
    turn_id: int = 0,
    attempt: int = 0,
    through_ms: int,
    stable_ms: int = 0,
    words_before: int = 0,
    speech: float = 1.0,
    silence_ms: int = 0,
) -> asr_pb2.Hypothesis:
    return asr_pb2.Hypothesis(
        turn_id=turn_id,
        attempt=attempt,
        through_sample=ms_to_samples(through_ms),
        stable_through_sample=ms_to_samples(stable_ms),
        words_before=words_before,
        words=words,
        speech_probability=speech,
        trailing_silence_ms=silence_ms,
    )
