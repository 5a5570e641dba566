import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamstack_asr.engines.nemotron.facts import ModelError
from streamstack_asr.engines.nemotron.store.folder import check_folder
from streamstack_asr.engines.nemotron.store.weights import read_weights
from support import model_folders

TINY = Path(__file__).parents[4] / "fixtures/models/tiny"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return model_folders.write_model(tmp_path / "model")


def refused(folder: Path) -> str:
    with pytest.raises(ModelError) as raised:
        check_folder(folder)
    return str(raised.value)


def with_shapes(**changes: tuple[int, ...] | None) -> dict[str, tuple[int, ...]]:
    changed = {name.replace("__", "."): shape for name, shape in changes.items()}
    return {name: shape for name, shape in {**model_folders.SHAPES, **changed}.items() if shape is not None}


@pytest.mark.parametrize("dtype", ["F16", "BF16", "F32"])
def test_a_whole_model_of_each_type_is_taken(tmp_path: Path, dtype: str) -> None:
    content = check_folder(model_folders.write_model(tmp_path, dtype=dtype))
    assert content.weights.dtypes == (dtype,)
    assert content.weights.size_bytes == (tmp_path / "model.safetensors").stat().st_size
    assert content.weights.parameters == 2 * 9 + 8 * 22 + 2 * 8 + 4 * 8 + 6 * 4 * 2
    assert content.facts.layers == 2


def test_the_small_model_of_the_tests_is_taken() -> None:
    content = check_folder(TINY)
    assert content.facts.lookaheads == (3, 6, 1, 0)
    assert content.weights.dtypes == ("F16",)


def test_weights_in_shards_are_one_model(model: Path) -> None:
    whole = read_weights(model)
    (model / "model.safetensors").unlink()
    names = list(model_folders.SHAPES)
    placed = {name: f"model-0000{1 + at % 2}-of-00002.safetensors" for at, name in enumerate(names)}
    for file in set(placed.values()):
        shapes = {name: model_folders.SHAPES[name] for name in names if placed[name] == file}
        (model / file).write_bytes(model_folders.safetensors(shapes))
    model_folders.write_json(model / "model.safetensors.index.json", {"weight_map": placed})
    assert check_folder(model).weights.shapes == whole.shapes
    (model / "model-00002-of-00002.safetensors").unlink()
    assert refused(model).endswith(
        "model-00002-of-00002.safetensors: missing, and named by model.safetensors.index.json"
    )
    placed["joint.head.weight"] = "../elsewhere.safetensors"
    model_folders.write_json(model / "model.safetensors.index.json", {"weight_map": placed})
    assert "weight_map is" in refused(model)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
def test_a_missing_file_is_named(model: Path, name: str) -> None:
    (model / name).unlink()
    assert f"{model / name}: missing, expected" in refused(model)


def test_weights_that_are_pickled_are_not_weights(model: Path) -> None:
    (model / "model.safetensors").rename(model / "pytorch_model.bin")
    assert "expected weights as safetensors" in refused(model)


def test_a_folder_that_is_none_is_named(tmp_path: Path) -> None:
    assert refused(tmp_path / "none") == f"{tmp_path / 'none'}: missing, expected a model folder"
    (tmp_path / "file").touch()
    assert refused(tmp_path / "file") == f"{tmp_path / 'file'}: no folder, expected a model folder"


def test_a_truncated_file_says_how_much_is_there_and_how_much_is_expected(model: Path) -> None:
    path = model / "model.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    assert refused(model) == f"{path}: truncated: {len(whole) - 1} bytes, expected {len(whole)} by its header"
    path.write_bytes(whole + b"\0")
    assert refused(model) == f"{path}: {len(whole) + 1} bytes, expected {len(whole)} by its header"
    path.write_bytes(whole[:20])
    assert "expected a whole safetensors file" in refused(model)
    path.write_bytes(b"")
    assert "0 bytes and a header of None, expected a whole safetensors file" in refused(model)


def test_weights_of_another_type_are_refused(tmp_path: Path) -> None:
    folder = model_folders.write_model(tmp_path, dtype="I64")
    assert refused(folder).endswith("is of type 'I64', expected one of F16, BF16, F32")


@pytest.mark.parametrize(
    ("shapes", "complaint"),
    [
        (
            with_shapes(joint__head__weight=None),
            "the weights have no joint.head.weight, expected those of",
        ),
        (with_shapes(joint__head__weight=(7, 4)), "joint.head.weight is 7 x 4, expected 6 x any by config.json"),
        (with_shapes(decoder__embedding__weight=(6,)), "decoder.embedding.weight is 6, expected 6 x any"),
        (with_shapes(encoder_projector__weight=(4, 9)), "encoder_projector.weight is 4 x 9, expected any x 8"),
        (with_shapes(encoder__layers__1__norm_out__weight=None), "the weights have 1 layers, expected 2"),
        (with_shapes(encoder__layers__2__norm_out__weight=(8,)), "the weights have 3 layers, expected 2"),
        (with_shapes(encoder__subsampling__linear__weight=(8, 34)), "expected what num_mel_bins 80"),
        (
            with_shapes(prompt_projector__linear_2__weight=(8, 4)),
            "the weights are those of nemotron3_5_asr, expected nemotron_asr_streaming",
        ),
    ],
)
def test_weights_of_another_architecture_are_refused(
    tmp_path: Path, shapes: dict[str, tuple[int, ...]], complaint: str
) -> None:
    assert complaint in refused(model_folders.write_model(tmp_path, shapes=shapes))


def test_a_multilingual_model_needs_the_layers_of_its_prompts(model: Path) -> None:
    config = {**model_folders.CONFIG, "model_type": "nemotron3_5_asr", "architectures": None}
    model_folders.write_json(model / "config.json", config)
    assert "the weights have no prompt_projector.linear_2.weight, expected those of nemotron3_5_asr" in refused(model)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda whole: whole.pop("model"), "model.vocab is missing or empty"),
        (lambda whole: whole["model"].update(vocab={}), "model.vocab is missing or empty"),
        (
            lambda whole: whole["model"]["vocab"].update(z=6),
            "has token 6, expected below vocab_size 6",
        ),
        (
            lambda whole: whole["model"]["vocab"].pop("c"),
            "has 4 pieces and none for token 3, expected one for",
        ),
    ],
)
def test_a_tokenizer_of_another_model_is_refused(
    model: Path, change: Callable[[dict[str, Any]], Any], complaint: str
) -> None:
    whole = json.loads(json.dumps(model_folders.TOKENIZER))
    change(whole)
    model_folders.write_json(model / "tokenizer.json", whole)
    assert complaint in refused(model)


def test_a_tokenizer_may_list_its_pieces_or_add_some(model: Path) -> None:
    pieces = [[piece, 0.0] for piece in model_folders.PIECES]
    model_folders.write_json(model / "tokenizer.json", {"model": {"type": "Unigram", "vocab": pieces}})
    check_folder(model)
    added = {"added_tokens": [{"id": 4, "content": "d"}], "model": {"type": "Unigram", "vocab": pieces[:4]}}
    model_folders.write_json(model / "tokenizer.json", added)
    check_folder(model)


WHOLE = model_folders.safetensors(model_folders.SHAPES)
TENSOR = {"dtype": "F16", "shape": [2], "data_offsets": [0, 4]}


@pytest.mark.parametrize(
    ("header", "complaint"),
    [
        ([], "its header names no tensor"),
        ({"__metadata__": {}}, "its header names no tensor"),
        ({"a": 1}, "tensor a is 1, expected dtype, shape and data_offsets"),
        ({"a": {**TENSOR, "data_offsets": [4, 0]}}, "expected dtype, shape and data_offsets"),
        ({"a": {**TENSOR, "data_offsets": [0, 6]}}, "tensor a is at bytes 0 to 6, expected 2 of F16 from 0 on"),
        ({"a": {**TENSOR, "data_offsets": [2, 6]}}, "tensor a is at bytes 2 to 6, expected 2 of F16 from 0 on"),
        ({"a": TENSOR, "b": TENSOR}, "tensor b is at bytes 0 to 4, expected 2 of F16 from 4 on"),
        ({"a": {**TENSOR, "shape": [-2]}}, "tensor a has the shape [-2], expected a list of sizes"),
        ({"a": {**TENSOR, "shape": [True, 2]}}, "expected a list of sizes"),
    ],
)
def test_a_header_that_makes_no_sense_is_refused(tmp_path: Path, header: Any, complaint: str) -> None:
    (tmp_path / "model.safetensors").write_bytes(model_folders.with_header(header) + bytes(4))
    with pytest.raises(ModelError) as raised:
        read_weights(tmp_path)
    assert complaint in str(raised.value)


@given(
    content=st.one_of(
        st.binary(max_size=40),
        st.builds(lambda head, tail: struct.pack("<Q", len(head)) + head + tail, st.binary(max_size=30), st.binary()),
        st.integers(0, len(WHOLE) - 1).map(lambda at: WHOLE[:at]),
    )
)
def test_whatever_is_in_a_file_it_is_refused_with_a_model_error(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    folder = tmp_path_factory.mktemp("weights")
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(ModelError):
        read_weights(folder)
