"""The engine's slots give what transformers' own streaming gives, stream by stream."""

from itertools import islice
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamstack_asr.engines.nemotron.facts import MULTILINGUAL
from support import slot_oracle as oracle
from support import tiny_model

pytestmark = pytest.mark.nemotron

STREAMS = 4
CLEAR = 0.01
"""A margin that fp32 does not lose to another order of adding up: a tie may be decided either way, also by chance."""
TOLERANCE = 2e-5
"""Of what the encoder gives, numbers of about one: fp32 adds up differently in a batch."""


@pytest.fixture(scope="module")
def random_model() -> Any:
    return oracle.loaded(oracle.random_model())


@pytest.fixture(scope="module")
def streams(random_model: Any) -> dict[int, list[tuple[Any, oracle.Heard]]]:
    """By lookahead: recordings of different lengths, and what transformers makes of them, without a tie in it."""
    found: dict[int, list[tuple[Any, oracle.Heard]]] = {}
    for lookahead in oracle.LOOKAHEADS:
        tried = (
            (pcm, oracle.hear(random_model, pcm, lookahead))
            for seed in range(60)
            for pcm in [oracle.noise(2.0 + 0.6 * (seed % STREAMS), seed=seed)]
        )
        found[lookahead] = list(islice((one for one in tried if one[1].margin > CLEAR), STREAMS))
        assert len(found[lookahead]) == STREAMS
    return found


def slot_model(loaded: Any, **more: Any) -> Any:
    import torch

    from streamstack_asr.engines.nemotron.model.slot_model import SlotModel

    torch.set_num_threads(1)
    return SlotModel(loaded, **{"slots": 6, "lookaheads": oracle.LOOKAHEADS, **more})


@pytest.mark.parametrize("lookahead", oracle.LOOKAHEADS)
def test_features_and_encoder_frames_are_those_of_transformers(lookahead: int, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    loaded = oracle.loaded(oracle.random_model(talkative=False))
    model = slot_model(loaded)
    encoder = model._encoders[lookahead]
    seen: list[tuple[Any, Any]] = []

    def watched(slots: Any, features: Any, fresh: Any) -> Any:
        encoded = encoder(slots, features, fresh)
        seen.append((features[0].clone(), encoded[0].clone()))
        return encoded

    monkeypatch.setitem(model._encoders, lookahead, watched)
    pcm = oracle.noise(6.0, seed=0)
    heard = oracle.hear(loaded, pcm, lookahead)
    stream = oracle.Stream(pcm, model.lanes[lookahead])
    while not stream.over:
        model.step(lookahead, [2], stream.next(rubbish=31_000)[None])
    features = torch.cat([part for part, _ in seen])[7:]
    assert (features - heard.features[: len(features)]).abs().max() <= 2e-6
    encoded = torch.cat([part for _, part in seen])
    assert len(encoded) >= len(heard.encoded) - model.lanes[lookahead].frames
    assert (encoded - heard.encoded[: len(encoded)]).abs().max() <= TOLERANCE


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_tokens_are_those_of_transformers_whoever_shares_the_batch(
    random_model: Any, streams: Any, shared_slots: Any, data: st.DataObject
) -> None:
    """Streams begin at any time in any slot of a lane, miss turns, end, and leave their slots to others."""
    model = shared_slots
    lookahead = data.draw(st.sampled_from(oracle.LOOKAHEADS))
    lane = model.lanes[lookahead]
    waiting = data.draw(st.permutations(range(STREAMS)))
    free = list(data.draw(st.permutations(range(4))))
    live: dict[int, tuple[int, oracle.Stream]] = {}
    while waiting or live:
        while waiting and free and (not live or data.draw(st.booleans())):
            slot, number = free.pop(), waiting.pop()
            model.reset(slot)
            live[number] = (slot, oracle.Stream(streams[lookahead][number][0], lane))
        due = [number for number in live if len(live) == 1 or data.draw(st.integers(0, 3))]
        if due:
            audio = np.stack([live[number][1].next(rubbish=-30_000) for number in due])
            for number, row in zip(due, model.step(lookahead, [live[n][0] for n in due], audio), strict=True):
                live[number][1].take(row)
        for number in [number for number in due if live[number][1].over]:
            slot, stream = live.pop(number)
            free.append(slot)
            frames = stream._steps * lane.frames
            expected = [(token, frame) for token, frame in streams[lookahead][number][1].tokens if frame < frames]
            assert stream.tokens == expected


@pytest.fixture(scope="module")
def shared_slots(random_model: Any) -> Any:
    """One model for all examples: a slot is left as the last stream left it."""
    return slot_model(random_model)


def test_a_random_model_says_enough_to_compare(streams: Any) -> None:
    whole = [heard.tokens for of_one in streams.values() for _, heard in of_one]
    assert min(map(len, whole)) > 5
    assert len({token for tokens in whole for token, _ in tokens}) > 6


def test_padded_batches_over_fixed_buffers_give_the_same_tokens(random_model: Any, streams: Any) -> None:
    lookahead = 3
    model = slot_model(random_model, buckets=(4, 8))
    model.warm_up()
    running = [oracle.Stream(pcm, model.lanes[lookahead]) for pcm, _ in streams[lookahead]]
    while due := [number for number, stream in enumerate(running) if not stream.over]:
        rows = model.step(lookahead, due, np.stack([running[number].next() for number in due]))
        for number, row in zip(due, rows, strict=True):
            running[number].take(row)
    for stream, (_, heard) in zip(running, streams[lookahead], strict=True):
        frames = stream._steps * stream.lane.frames
        assert stream.tokens == [(token, frame) for token, frame in heard.tokens if frame < frames]


def test_languages_mix_in_one_batch_of_the_multilingual_model() -> None:
    loaded = oracle.loaded(oracle.random_model(MULTILINGUAL), MULTILINGUAL)
    model = slot_model(loaded)
    prompts = [0, 9, 101]
    tried = (oracle.noise(3.0, seed=seed) for seed in range(60))
    clear = (
        one for one in tried if all(oracle.hear(loaded, one, 1, prompt=prompt).margin > CLEAR for prompt in prompts)
    )
    recordings = [next(clear)] * len(prompts)
    running = [oracle.Stream(pcm, model.lanes[1]) for pcm in recordings]
    for slot, prompt in enumerate(prompts):
        model.set_prompt(slot, prompt)
    while not running[0].over:
        for stream, row in zip(
            running, model.step(1, [0, 1, 2], np.stack([stream.next() for stream in running])), strict=True
        ):
            stream.take(row)
    frames = running[0]._steps * 2
    for stream, pcm, prompt in zip(running, recordings, prompts, strict=True):
        heard = oracle.hear(loaded, pcm, 1, prompt=prompt)
        assert stream.tokens == [(token, frame) for token, frame in heard.tokens if frame < frames]
    assert running[0].tokens != running[1].tokens


@pytest.mark.parametrize("lookahead", oracle.LOOKAHEADS)
def test_the_trained_model_says_what_transformers_generate_says(lookahead: int) -> None:
    import torch

    from streamstack_asr.engines.nemotron.model.loading import load

    loaded = load(tiny_model.MODEL, device="cpu", precision="fp32")
    model = slot_model(loaded)
    for name, (_, samples) in list(tiny_model.clips().items())[:4]:
        pcm = np.concatenate([np.frombuffer(samples, np.int16), np.zeros(16_000, np.int16)])
        stream = oracle.Stream(pcm, model.lanes[lookahead])
        model.reset(0)
        while not stream.over:
            stream.take(model.step(lookahead, [0], stream.next()[None])[0])
        whole = oracle.features(loaded.extractor, pcm)
        parts = list(oracle.chunks(whole, lookahead))[: stream._steps]
        with torch.inference_mode():
            generated = loaded.model.generate(
                input_features=(part for part in parts), num_lookahead_tokens=lookahead, max_new_tokens=400
            )
        silent = {loaded.facts.blank_token, loaded.model.config.pad_token_id}
        assert [token for token, _ in stream.tokens] == [
            token for token in generated.sequences[0].tolist() if token not in silent
        ], name
