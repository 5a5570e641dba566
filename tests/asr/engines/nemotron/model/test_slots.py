"""Slots are apart from each other; key terms decide what is close, in their own slot alone."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from support import slot_oracle as oracle

pytestmark = pytest.mark.nemotron

LOOKAHEAD = 3


@pytest.fixture(scope="module")
def model() -> Any:
    import torch

    from streamstack_asr.engines.nemotron.model.slot_model import SlotModel

    torch.set_num_threads(1)
    return SlotModel(oracle.loaded(oracle.random_model()), slots=4, lookaheads=(LOOKAHEAD, 0))


def tokens(model: Any, slots: Sequence[int], seconds: float = 3.0, *, seed: int = 3) -> list[list[tuple[int, int]]]:
    """What each of the slots, begun anew by the caller, emits for the same audio."""
    pcm = oracle.noise(seconds, seed=seed)
    running = [oracle.Stream(pcm, model.lanes[LOOKAHEAD]) for _ in slots]
    while not running[0].over:
        rows = model.step(LOOKAHEAD, slots, np.stack([stream.next() for stream in running]))
        for stream, row in zip(running, rows, strict=True):
            stream.take(row)
    return [stream.tokens for stream in running]


def test_a_term_is_heard_where_it_was_close_and_only_in_its_slot(model: Any) -> None:
    """Every token of the vocabulary as a term of its own: the close ones among them change what is said."""
    for slot in (0, 1):
        model.reset(slot)
    (plain,) = tokens(model, [0])
    said = {token for token, _ in plain}
    others = [(token,) * 6 for token in range(model.facts.vocab_size) if token not in said | {model.facts.blank_token}]
    model.reset(0)
    model.set_keyterms(0, others)
    favoured, untouched = tokens(model, [0, 1])
    assert untouched == plain
    assert favoured != plain
    assert {token for token, _ in favoured} - said


def test_terms_that_are_cleared_and_slots_that_are_reused_favour_nothing(model: Any) -> None:
    model.reset(0)
    (plain,) = tokens(model, [0])
    model.reset(0)
    model.set_keyterms(0, [(token,) * 6 for token in range(20)])
    model.set_keyterms(0, [])
    assert tokens(model, [0]) == [plain]
    model.set_keyterms(0, [(token,) * 6 for token in range(20)])
    model.reset(0)
    assert tokens(model, [0]) == [plain]


def test_a_copy_goes_on_from_the_same_place_and_does_not_disturb_what_it_was_made_of(model: Any) -> None:
    pcm = oracle.noise(4.0, seed=5)
    stream = oracle.Stream(pcm, model.lanes[LOOKAHEAD])
    model.reset(2)
    for _ in range(4):
        stream.take(model.step(LOOKAHEAD, [2], stream.next()[None])[0])
    spare = model.slots
    model.copy(2, spare)
    audio = stream.next()
    silence = np.zeros_like(audio)
    (of_copy,) = model.step(LOOKAHEAD, [spare], audio[None])
    model.step(LOOKAHEAD, [spare], silence[None])
    (of_slot,) = model.step(LOOKAHEAD, [2], audio[None])
    assert [(one.token, one.frame) for one in of_copy.tokens] == [(one.token, one.frame) for one in of_slot.tokens]


def test_a_slot_that_is_broken_breaks_no_other_and_says_nothing_until_it_is_begun_anew(model: Any) -> None:
    import torch

    for slot in (0, 1):
        model.reset(slot)
    (plain,) = tokens(model, [0])
    model.reset(0)
    with torch.inference_mode():
        model._pools.keys[:, 1] = math.nan
        model._pools.convolution[:, 1] = math.inf
        model._pools.length[1] = model._pools.keys.shape[3]
    whole, broken = tokens(model, [0, 1])
    assert whole == plain
    assert broken == []
    row = model.step(LOOKAHEAD, [1], np.zeros((1, model.lanes[LOOKAHEAD].step_samples), np.int16))[0]
    assert row.blank_posteriors == (1.0,) * (LOOKAHEAD + 1)
    model.reset(1)
    assert tokens(model, [1]) == [plain]


def test_a_token_that_was_favoured_is_as_probable_as_without_terms(model: Any) -> None:
    """Every token is a term: all are favoured alike, so what is said first is what would be said first."""
    stream = oracle.Stream(oracle.noise(2.0, seed=3), model.lanes[LOOKAHEAD])
    audio = stream.next()[None]
    found = []
    for terms in ([], [(token,) for token in range(model.facts.blank_token)]):
        model.reset(0)
        model.set_keyterms(0, terms)
        found.append(model.step(LOOKAHEAD, [0], audio)[0].tokens[0])
    assert found[0] == found[1]


def test_every_frame_has_a_probability_of_blank(model: Any) -> None:
    model.reset(3)
    stream = oracle.Stream(oracle.noise(2.0, seed=1), model.lanes[LOOKAHEAD])
    (row,) = model.step(LOOKAHEAD, [3], stream.next()[None])
    assert len(row.blank_posteriors) == LOOKAHEAD + 1
    assert all(0 <= posterior <= 1 for posterior in row.blank_posteriors)


def test_a_lookahead_that_the_model_lacks_is_refused() -> None:
    from streamstack_asr.engines.nemotron.facts import ModelError
    from streamstack_asr.engines.nemotron.model.slot_model import SlotModel

    with pytest.raises(ModelError, match=r"lookaheads \[2\]: expected some of \[0, 1, 3, 6\]"):
        SlotModel(oracle.loaded(oracle.random_model()), slots=1, lookaheads=(2,))
