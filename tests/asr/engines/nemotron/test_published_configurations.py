"""The configurations of the published checkpoints, as transformers has them: shapes alone, no weights are here."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from streamstack_asr.engines.nemotron import facts
from streamstack_asr.engines.nemotron.prompts import PROMPTS
from streamstack_asr.engines.nemotron.store.folder import check_folder
from support import model_folders

pytestmark = pytest.mark.nemotron

MODELS = {facts.ENGLISH: 616_954_369, facts.MULTILINGUAL: 636_866_592}
"""Parameters that transformers counts for its default configurations, those of the 0.6 B checkpoints."""


def configuration(architecture: str) -> Any:
    import transformers

    return {
        facts.ENGLISH: transformers.NemotronAsrStreamingConfig,
        facts.MULTILINGUAL: transformers.Nemotron3_5AsrConfig,
    }[architecture]()


def write_checkpoint(folder: Path, architecture: str) -> None:
    """Write a checkpoint of the real shapes: its weights are a hole in a file."""
    import torch
    import transformers

    config = configuration(architecture)
    with torch.device("meta"):
        model = getattr(transformers, facts.CLASSES[architecture])(config)
    config.architectures = [facts.CLASSES[architecture]]
    config.save_pretrained(folder)
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    sizes = [math.prod(shape) * 2 for shape in shapes.values()]
    offsets = [sum(sizes[:at]) for at in range(len(sizes) + 1)]
    header = {
        name: {"dtype": "BF16", "shape": list(shape), "data_offsets": [offsets[at], offsets[at + 1]]}
        for at, (name, shape) in enumerate(shapes.items())
    }
    path = folder / "model.safetensors"
    head = model_folders.with_header(header)
    path.write_bytes(head)
    with path.open("r+b") as file:
        file.truncate(len(head) + offsets[-1])
    pieces = {f"piece{number}": number for number in range(config.vocab_size - 1)}
    model_folders.write_json(folder / "tokenizer.json", {"model": {"type": "BPE", "vocab": pieces}})


@pytest.mark.parametrize("architecture", MODELS)
def test_a_checkpoint_of_the_real_shapes_is_taken(tmp_path: Path, architecture: str) -> None:
    write_checkpoint(tmp_path, architecture)
    content = check_folder(tmp_path)
    assert content.weights.parameters == MODELS[architecture]
    assert content.weights.dtypes == ("BF16",)
    assert content.facts.architecture == architecture
    assert content.facts.chunks_ms == (1120, 560, 160, 80)
    assert content.facts.multilingual is (architecture == facts.MULTILINGUAL)


@pytest.mark.parametrize("architecture", MODELS)
def test_what_a_folder_leaves_out_is_what_transformers_has(tmp_path: Path, architecture: str) -> None:
    configuration(architecture).save_pretrained(tmp_path)
    whole = facts.read_facts(tmp_path)
    model_folders.write_json(tmp_path / "config.json", {"model_type": architecture})
    assert facts.read_facts(tmp_path) == whole


def test_prompts_and_lookaheads_are_transformers_own() -> None:
    from transformers.models.nemotron3_5_asr import processing_nemotron3_5_asr as multilingual
    from transformers.models.nemotron_asr_streaming import processing_nemotron_asr_streaming as english

    assert PROMPTS == multilingual.DEFAULT_PROMPT_DICTIONARY
    assert list(facts.DEFAULT_LOOKAHEADS) == english.DEFAULT_NUM_LOOKAHEAD_TOKENS
    assert list(facts.DEFAULT_LOOKAHEADS) == multilingual.DEFAULT_NUM_LOOKAHEAD_TOKENS


def test_features_are_made_as_transformers_makes_them(tmp_path: Path) -> None:
    from transformers import NemotronAsrStreamingFeatureExtractor

    NemotronAsrStreamingFeatureExtractor().save_pretrained(tmp_path)
    model_folders.write_json(tmp_path / "config.json", {"model_type": facts.ENGLISH})
    assert facts.read_facts(tmp_path).mel_bins == 80
    written = json.loads((tmp_path / "preprocessor_config.json").read_text())
    assert (written["sampling_rate"], written["hop_length"]) == (facts.SAMPLE_RATE, facts.HOP_SAMPLES)
