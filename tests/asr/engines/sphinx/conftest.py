from collections.abc import Callable

import pytest

from streamstack_asr.engines.sphinx.decoder import Decoder
from streamstack_asr.engines.sphinx.recognition import Recognition
from support.sphinx_hearing import Heard, pieces, run, samples, session_start

Hear = Callable[..., Heard]


@pytest.fixture(scope="session")
def decoder() -> Decoder:
    return Decoder()


@pytest.fixture(scope="session")
def hear(decoder: Decoder) -> Hear:
    """Decode one turn of audio, pushed in pieces of ``milliseconds``, in this process."""

    def decode(pcm: bytes, *, milliseconds: int = 100, **where: int) -> Heard:
        start = session_start(**where)
        recognition, heard = Recognition(start, decoder), Heard()
        for piece in pieces(pcm, milliseconds):
            recognition.push(piece)
            run(recognition, heard)
        recognition.end_turn(1, start.first_sample + samples(pcm))
        run(recognition, heard)
        recognition.release()
        return heard

    return decode
