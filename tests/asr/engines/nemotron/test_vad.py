"""The voice detector hears the same, however its audio is cut and whoever shares its batch."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from streamstack_asr.engines.nemotron.facts import ModelError
from streamstack_asr.engines.nemotron.vad import WINDOW_SAMPLES, VoiceDetector
from support.tiny_model import clips

pytestmark = pytest.mark.nemotron

TOLERANCE = 1e-5


@cache
def detector() -> VoiceDetector:
    return VoiceDetector(4)


@cache
def recording(name: str) -> NDArray[np.int16]:
    return np.frombuffer(clips()[name][1], np.int16)[: 40 * WINDOW_SAMPLES]


def whole(pcm: NDArray[np.int16]) -> tuple[float, ...]:
    detector().reset(0)
    (windows,) = detector().probabilities([(0, pcm)])
    return windows


def test_speech_is_told_from_silence() -> None:
    silence = np.zeros(20 * WINDOW_SAMPLES, np.int16)
    assert max(whole(silence)) < 0.2
    assert max(whole(recording("three_cards"))) > 0.8


@settings(max_examples=25, deadline=None)
@given(cuts=st.lists(st.integers(0, 40 * WINDOW_SAMPLES), max_size=12))
def test_how_the_audio_is_cut_makes_no_difference(cuts: list[int]) -> None:
    pcm = recording("three_cards")
    expected = whole(pcm)
    detector().reset(1)
    found: tuple[float, ...] = ()
    for begin, end in zip([0, *sorted(cuts)], [*sorted(cuts), len(pcm)], strict=True):
        found += detector().probabilities([(1, pcm[begin:end])])[0]
    assert found == pytest.approx(expected, abs=TOLERANCE)


def test_who_shares_the_batch_makes_no_difference() -> None:
    one, other = recording("three_cards"), recording("go_backward")[: 23 * WINDOW_SAMPLES + 100]
    expected = whole(one), whole(other)
    for slot in (2, 3):
        detector().reset(slot)
    assert [pytest.approx(windows, abs=TOLERANCE) for windows in expected] == detector().probabilities(
        [(2, one), (3, other)]
    )


def test_a_slot_that_is_reset_remembers_nothing() -> None:
    expected = whole(recording("go_backward"))
    detector().probabilities([(0, recording("three_cards")[:1_000])])
    assert whole(recording("go_backward")) == pytest.approx(expected, abs=TOLERANCE)


def test_another_file_is_refused_by_its_hash(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"something else")
    with pytest.raises(ModelError, match=r"model\.onnx: its SHA-256 is .*, expected 7ed98d"):
        VoiceDetector(1, model=tmp_path / "model.onnx")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"nowhere\.onnx: cannot be read"):
        VoiceDetector(1, model=tmp_path / "nowhere.onnx")
