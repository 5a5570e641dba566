"""The published models' sizes: pools and steps take them. Shapes alone; no number is computed."""

from typing import Any

import pytest

from streamstack_asr.engines.nemotron.facts import CLASSES, ENGLISH, MULTILINGUAL, ModelFacts

pytestmark = pytest.mark.nemotron

LOOKAHEADS = (13, 6, 3, 1, 0)
MILLIONS = {ENGLISH: 618, MULTILINGUAL: 638}
"""Parameters, as the models' cards say."""
SLOTS = 4


def loaded(architecture: str) -> Any:
    """Model of 128 mel bins on no device."""
    import torch
    import transformers

    from streamstack_asr.engines.nemotron.model.loading import Loaded

    encoder = transformers.NemotronAsrStreamingEncoderConfig(num_mel_bins=128)
    kind = transformers.NemotronAsrStreamingConfig if architecture == ENGLISH else transformers.Nemotron3_5AsrConfig
    config = kind(encoder_config=encoder.to_dict())
    with torch.device("meta"):
        model = getattr(transformers, CLASSES[architecture])(config)
    facts = ModelFacts(
        architecture=architecture,
        mel_bins=128,
        hidden_size=encoder.hidden_size,
        layers=encoder.num_hidden_layers,
        heads=encoder.num_attention_heads,
        left_context_frames=encoder.sliding_window - 1,
        vocab_size=config.vocab_size,
        blank_token=config.blank_token_id,
        lookaheads=LOOKAHEADS,
        default_lookahead=LOOKAHEADS[0],
    )
    extractor = transformers.NemotronAsrStreamingFeatureExtractor(feature_size=128)
    return Loaded(model.eval().requires_grad_(requires_grad=False), extractor, facts, torch.device("meta"))


@pytest.mark.parametrize("architecture", MILLIONS)
def test_pools_and_steps_take_the_published_sizes(architecture: str) -> None:
    import torch

    from streamstack_asr.engines.nemotron.model.slot_model import SlotModel

    whole = loaded(architecture)
    assert sum(one.numel() for one in whole.model.parameters()) // 1_000_000 == MILLIONS[architecture]
    with torch.inference_mode():
        model = SlotModel(whole, slots=SLOTS, lookaheads=LOOKAHEADS)
        for lookahead, lane in model.lanes.items():
            step = model._step(lookahead, SLOTS)
            step.encode()
            step.decode(biased=True)
            assert step.encoded.shape == (SLOTS, lane.frames, whole.model.config.decoder_hidden_size)
            assert model._decoders[lookahead].width == step._result.shape[1]


def test_a_slot_takes_the_memory_of_its_window() -> None:
    from streamstack_asr.engines.nemotron.model.slot_model import SlotModel

    whole = loaded(ENGLISH)
    model = SlotModel(whole, slots=SLOTS, lookaheads=LOOKAHEADS)
    keys_and_values = 2 * 24 * 70 * 1024 * 4
    assert keys_and_values < model.bytes_per_slot < 1.2 * keys_and_values
