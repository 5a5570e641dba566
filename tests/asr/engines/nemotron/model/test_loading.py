"""From a folder to a model: offline, whole, in the format that was asked for, or with an error that says why not."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from streamstack_asr.engines.nemotron.facts import ModelError
from support import tiny_model

pytestmark = pytest.mark.nemotron

Tensors = dict[str, Any]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_model.MODEL, tmp_path / "model"))


def rewritten(folder: Path, change: Callable[[Tensors], Tensors]) -> Path:
    """Change the folder's weights."""
    from safetensors.torch import load_file, save_file

    path = folder / "model.safetensors"
    save_file(change(load_file(path)), path, metadata={"format": "pt"})
    return folder


def load(folder: Path, precision: str = "fp32") -> Any:
    from streamstack_asr.engines.nemotron.model import loading

    return loading.load(folder, device="cpu", precision=precision)


@pytest.mark.parametrize("stored", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_weights_of_any_format_are_computed_in_the_one_asked_for(folder: Path, stored: str, precision: str) -> None:
    import torch

    rewritten(folder, lambda tensors: {name: one.to(getattr(torch, stored)) for name, one in tensors.items()})
    loaded = load(folder, precision)
    assert {one.dtype for one in loaded.model.parameters()} == {
        {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
    }
    assert not loaded.model.training


def test_weights_in_shards_are_the_same_weights(folder: Path, tmp_path: Path) -> None:
    import torch

    whole = load(folder).model
    whole.save_pretrained(tmp_path / "sharded", max_shard_size="2MB")
    shards = list((tmp_path / "sharded").glob("model-*.safetensors"))
    assert len(shards) > 1
    (folder / "model.safetensors").unlink()
    for part in [*shards, tmp_path / "sharded/model.safetensors.index.json"]:
        shutil.copy(part, folder)
    for name, tensor in load(folder).model.state_dict().items():
        assert torch.equal(tensor, whole.state_dict()[name]), name


def test_a_tensor_that_is_missing_is_named(folder: Path) -> None:
    missing = "encoder.layers.1.conv.pointwise_conv1.weight"
    rewritten(folder, lambda tensors: {name: one for name, one in tensors.items() if name != missing})
    with pytest.raises(ModelError, match=re.escape(missing)):
        load(folder)


def test_a_tensor_that_the_model_has_no_use_for_is_named(folder: Path) -> None:
    import torch

    rewritten(folder, lambda tensors: {**tensors, "encoder.adapter.weight": torch.zeros(2, 2)})
    with pytest.raises(ModelError, match=r"encoder\.adapter\.weight"):
        load(folder)


def test_a_tensor_of_another_shape_is_named(folder: Path) -> None:
    name = "encoder.layers.1.conv.pointwise_conv1.weight"
    rewritten(folder, lambda tensors: {**tensors, name: tensors[name][:-2].clone()})
    with pytest.raises(ModelError, match=rf"{re.escape(name)} is \[254, 128, 1\], expected \[256, 128, 1\]"):
        load(folder)


def test_a_file_that_is_cut_off_is_named(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(ModelError, match=r"model\.safetensors"):
        load(folder)


@pytest.mark.parametrize(("precision", "said"), [("fp16", "on a CPU: expected auto, bf16 or fp32"), ("int8", "fp32")])
def test_a_precision_that_the_device_lacks_is_refused(folder: Path, precision: str, said: str) -> None:
    with pytest.raises(ModelError, match=f"precision '{precision}'.*{said}"):
        load(folder, precision)
