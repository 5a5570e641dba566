"""The small model in the engine's slots, without a server: every step it can take."""

import pytest

from support.tiny_model import MODEL
from support.words import word_errors
from tiny_model.held_out import FIXTURES, listed, people

pytestmark = pytest.mark.nemotron

STEPS_MS = (80, 160, 320, 560)


@pytest.mark.parametrize("step_ms", STEPS_MS)
def test_clips_are_heard_without_an_error_and_people_with_few(step_ms: int) -> None:
    from tiny_model.hearing import Listener

    clips, recordings = listed(FIXTURES / "speech"), people()
    listener = Listener(MODEL, precision="fp32", steps_ms=[step_ms])
    heard = listener.texts([*clips, *recordings], step_ms)

    assert heard[: len(clips)] == [clip.said for clip in clips]
    errors = [word_errors(clip.words, text.split()) for clip, text in zip(recordings, heard[len(clips) :], strict=True)]
    # 30 words; measured: one or two errors.
    assert sum(errors) <= 3
