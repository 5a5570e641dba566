import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamstack_asr.engines.base import EngineError
from streamstack_asr.engines.nemotron.facts import (
    CLASSES,
    ENGLISH,
    FRAME_SAMPLES,
    MULTILINGUAL,
    ModelError,
    read_facts,
)

TINY = {
    "model_type": ENGLISH,
    "vocab_size": 81,
    "blank_token_id": 80,
    "encoder_config": {
        "hidden_size": 128,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_mel_bins": 80,
        "sliding_window": 29,
        "default_num_lookahead_tokens": 3,
    },
}


def write(folder: Path, config: Any, **others: Any) -> Path:
    for name, content in {"config": config, **others}.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    return folder


def changed(field: str, value: Any) -> dict[str, Any]:
    copy: dict[str, Any] = json.loads(json.dumps(TINY))
    section, _, name = field.rpartition(".")
    (copy[section] if section else copy)[name] = value
    return copy


def test_a_small_english_model(tmp_path: Path) -> None:
    processor = {"supported_num_lookahead_tokens": [0, 1, 3, 6], "default_num_lookahead_tokens": 3}
    facts = read_facts(write(tmp_path, TINY, processor_config=processor))
    assert (facts.architecture, facts.mel_bins, facts.hidden_size, facts.layers) == (ENGLISH, 80, 128, 4)
    assert (facts.heads, facts.left_context_frames, facts.vocab_size, facts.blank_token) == (4, 28, 81, 80)
    assert (facts.lookaheads, facts.default_lookahead, facts.chunks_ms) == ((3, 6, 1, 0), 3, (320, 560, 160, 80))
    assert not facts.multilingual
    assert (facts.languages, facts.prompts) == ((), {})
    assert FRAME_SAMPLES == 1280


def test_what_a_folder_leaves_out_is_as_in_the_published_checkpoints(tmp_path: Path) -> None:
    facts = read_facts(write(tmp_path, {"model_type": ENGLISH}))
    assert (facts.hidden_size, facts.layers, facts.left_context_frames, facts.vocab_size) == (1024, 24, 70, 1025)
    assert (facts.lookaheads, facts.default_lookahead) == ((13, 6, 1, 0), 13)


def test_a_default_lookahead_that_no_processor_names_is_one_more(tmp_path: Path) -> None:
    facts = read_facts(write(tmp_path, TINY))
    assert facts.lookaheads == (3, 13, 6, 1, 0)


def test_a_processor_that_names_no_default_has_its_first_where_the_encoder_names_another(tmp_path: Path) -> None:
    facts = read_facts(write(tmp_path, TINY, processor_config={"supported_num_lookahead_tokens": [1, 6]}))
    assert facts.lookaheads == (1, 6)


def test_a_multilingual_model_has_a_prompt_for_each_language_and_for_finding_it(tmp_path: Path) -> None:
    facts = read_facts(write(tmp_path, {"model_type": MULTILINGUAL}))
    assert facts.multilingual
    assert (facts.prompts["auto"], facts.prompts["en"], facts.prompts["en-US"], facts.prompts["es"]) == (101, 0, 0, 3)
    assert {"en-US", "de-DE", "nb-NO"} <= set(facts.languages)
    assert not {"auto", "enGB", "de", "zh-ZH"} & set(facts.languages)
    assert len(facts.languages) == len({facts.prompts[name] for name in facts.languages})


def test_a_model_brings_its_own_prompts(tmp_path: Path) -> None:
    processor = {"prompt_dictionary": {"de-DE": 0, "de": 0, "fr-FR": 1}}
    config = {"model_type": MULTILINGUAL, "num_prompts": 3, "default_prompt_id": 2}
    facts = read_facts(write(tmp_path, config, processor_config=processor))
    assert (facts.prompts, facts.languages) == ({"auto": 2, "de-DE": 0, "de": 0, "fr-FR": 1}, ("de-DE", "fr-FR"))


@pytest.mark.parametrize(
    ("field", "value", "complaint"),
    [
        ("model_type", "whisper", "model_type is 'whisper', expected one of nemotron_asr_streaming, nemotron3_5_asr"),
        ("model_type", None, "model_type is nothing, expected one of"),
        ("architectures", ["NemotronAsrStreamingEncoder"], "expected ['NemotronAsrStreamingForRNNT']"),
        ("vocab_size", "81", "vocab_size is '81', expected a whole number, at least 1"),
        ("vocab_size", True, "vocab_size is True, expected a whole number"),
        ("blank_token_id", 81, "blank_token_id is 81, expected below 81"),
        ("encoder_config", 3, "encoder_config is 3, expected an object"),
        ("encoder_config.hidden_size", 0, "encoder_config.hidden_size is 0, expected a whole number, at least 1"),
        ("encoder_config.num_attention_heads", 3, "expected a divisor of hidden_size 128"),
        ("encoder_config.subsampling_factor", 4, "encoder_config.subsampling_factor is 4, expected 8"),
        ("encoder_config.sliding_window", 1, "encoder_config.sliding_window is 1, expected a whole number, at least 2"),
        ("encoder_config.sliding_window", 13, "expected frames from 0 to 12 (sliding_window - 1)"),
        ("encoder_config.default_num_lookahead_tokens", 29, "expected below 29"),
    ],
)
def test_a_field_that_is_not_what_it_must_be_is_named(tmp_path: Path, field: str, value: Any, complaint: str) -> None:
    with pytest.raises(ModelError) as raised:
        read_facts(write(tmp_path, changed(field, value)))
    assert complaint in str(raised.value)
    assert str(tmp_path) in str(raised.value)
    assert isinstance(raised.value, EngineError)


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("processor_config", {"supported_num_lookahead_tokens": []}, "is [], expected a list of frames"),
        ("processor_config", {"supported_num_lookahead_tokens": [0, -1]}, "expected frames from 0 to 28"),
        (
            "processor_config",
            {"supported_num_lookahead_tokens": [1], "default_num_lookahead_tokens": 6},
            "default_num_lookahead_tokens is 6, expected one of [1]",
        ),
        (
            "processor_config",
            {"feature_extractor": {"feature_size": 128}},
            "feature_extractor.feature_size is 128, expected 80 as num_mel_bins in config.json",
        ),
        ("preprocessor_config", {"sampling_rate": 8000}, "sampling_rate is 8000, expected 16000"),
        ("preprocessor_config", {"feature_size": 128}, "feature_size is 128, expected 80 as num_mel_bins"),
    ],
)
def test_a_processor_that_does_not_fit_the_model_is_refused(
    tmp_path: Path, name: str, content: Any, complaint: str
) -> None:
    with pytest.raises(ModelError, match=name) as raised:
        read_facts(write(tmp_path, TINY, **{name: content}))
    assert complaint in str(raised.value)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, "config.json: missing, expected a model folder as transformers writes it"),
        (b"{", "config.json: no JSON"),
        (b"\xff", "config.json: no JSON"),
        (b"[]", "config.json: a list, expected a JSON object"),
        (b"[" * 200_000, "config.json: no JSON"),
    ],
)
def test_a_configuration_that_cannot_be_read_says_so(tmp_path: Path, content: bytes | None, complaint: str) -> None:
    if content is not None:
        (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(ModelError) as raised:
        read_facts(tmp_path)
    assert complaint in str(raised.value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 200) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=4,
)
FIELD = st.sampled_from([*TINY, *(f"encoder_config.{name}" for name in TINY["encoder_config"])])  # type: ignore[misc]


@given(field=FIELD, value=JSON, architecture=st.sampled_from(list(CLASSES)))
def test_whatever_a_field_holds_there_are_facts_or_a_model_error(
    tmp_path_factory: pytest.TempPathFactory, field: str, value: Any, architecture: str
) -> None:
    config = changed(field, value) | ({} if field == "model_type" else {"model_type": architecture})
    folder = write(tmp_path_factory.mktemp("model"), config)
    try:
        facts = read_facts(folder)
    except ModelError:
        return
    assert facts.lookaheads[0] == facts.default_lookahead
    assert 0 <= facts.blank_token < facts.vocab_size
    assert all(lookahead <= facts.left_context_frames for lookahead in facts.lookaheads)
