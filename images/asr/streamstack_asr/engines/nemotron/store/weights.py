"""The weights of a model folder, looked at by their headers: whole, of a type and shape that can be loaded.

Format (README of safetensors): eight bytes with the header's length (little endian), the header (JSON: tensor name ->
dtype, shape, data_offsets), then the tensors, which follow each other without a gap to the file's end.
"""

import json
import math
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from streamstack_asr.engines.nemotron.facts import MULTILINGUAL, ModelError, ModelFacts, read_object

ONE_FILE: Final = "model.safetensors"
INDEX: Final = "model.safetensors.index.json"
ITEM_BYTES: Final = {"F16": 2, "BF16": 2, "F32": 4}
"""The types a model is loaded from; others (integers, 8-bit floats) are another program's quantisation."""

_LARGEST_HEADER: Final = 100_000_000  # safetensors' own limit
_LENGTH_BYTES: Final = 8

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Weights:
    """What the weight files hold: tensors by name with their shapes, types found, and bytes on disk."""

    shapes: Mapping[str, Shape]
    dtypes: tuple[str, ...]
    size_bytes: int

    @property
    def parameters(self) -> int:
        """Numbers in all tensors together."""
        return sum(math.prod(shape) for shape in self.shapes.values())


def read_weights(folder: Path) -> Weights:
    """Return what the folder's weights are by their headers. Raises ModelError for what cannot be loaded."""
    shapes: dict[str, Shape] = {}
    dtypes: set[str] = set()
    size_bytes = 0
    for path in weight_files(folder):
        for name, dtype, shape in _tensors(path):
            if name in shapes:
                raise ModelError(f"{path}: tensor {name} is in another file too, expected every tensor once")
            shapes[name] = shape
            dtypes.add(dtype)
        size_bytes += path.stat().st_size
    return Weights(shapes, tuple(sorted(dtypes)), size_bytes)


def weight_files(folder: Path) -> list[Path]:
    """Return the files with weights: one, or those of the index. Raises ModelError when one is missing."""
    index = folder / INDEX
    if not index.exists():
        if not (folder / ONE_FILE).is_file():
            raise ModelError(f"{folder / ONE_FILE}: missing, expected weights as safetensors ({ONE_FILE} or {INDEX})")
        return [folder / ONE_FILE]
    named = read_object(index).get("weight_map")
    if not isinstance(named, dict) or not named or not all(_is_file_name(name) for name in named.values()):
        raise ModelError(f"{index}: weight_map is {repr(named)[:100]}, expected tensor names with names of files")
    paths = [folder / name for name in sorted(set(named.values()))]
    for path in paths:
        if not path.is_file():
            raise ModelError(f"{path}: missing, and named by {INDEX}")
    return paths


def check_shapes(folder: Path, weights: Weights, facts: ModelFacts) -> None:
    """Compare the tensors with config.json where another model's would differ. Raises ModelError."""
    expected = {
        "encoder_projector.weight": (None, facts.hidden_size),
        "joint.head.weight": (facts.vocab_size, None),
        "decoder.embedding.weight": (facts.vocab_size, None),
        **({"prompt_projector.linear_2.weight": (facts.hidden_size, None)} if facts.multilingual else {}),
    }
    for name, shape in expected.items():
        found = weights.shapes.get(name)
        if found is None:
            raise ModelError(f"{folder}: the weights have no {name}, expected those of {facts.architecture}")
        if len(found) != len(shape) or any(want not in {None, size} for size, want in zip(found, shape, strict=True)):
            wanted = " x ".join("any" if size is None else str(size) for size in shape)
            raise ModelError(f"{folder}: {name} is {_shown(found)}, expected {wanted} by config.json")
    if facts.architecture != MULTILINGUAL and "prompt_projector.linear_2.weight" in weights.shapes:
        raise ModelError(f"{folder}: the weights are those of {MULTILINGUAL}, expected {facts.architecture}")
    layers = {name.split(".")[2] for name in weights.shapes if name.startswith("encoder.layers.")}
    if layers != {str(layer) for layer in range(facts.layers)}:
        raise ModelError(f"{folder}: the weights have {len(layers)} layers, expected {facts.layers} by config.json")
    _check_mel_bins(folder, weights, facts)


def _check_mel_bins(folder: Path, weights: Weights, facts: ModelFacts) -> None:
    """Three convolutions halve the mel bins (n -> n // 2 + 1); what is left of them goes into one linear layer."""
    convolution = weights.shapes.get("encoder.subsampling.conv_in.weight", ())
    linear = weights.shapes.get("encoder.subsampling.linear.weight", ())
    bins = facts.mel_bins
    for _ in range(3):
        bins = bins // 2 + 1
    if len(convolution) != 4 or len(linear) != 2 or linear[1] != convolution[0] * bins:
        raise ModelError(
            f"{folder}: encoder.subsampling is {_shown(convolution)} and {_shown(linear)}, expected what "
            f"num_mel_bins {facts.mel_bins} of config.json needs"
        )


def _tensors(path: Path) -> Iterator[tuple[str, str, Shape]]:
    size, header, length = _header(path)
    at = 0
    for name, entry in sorted(header.items(), key=lambda item: _offsets(path, *item)):
        begin, end = _offsets(path, name, entry)
        dtype, shape = entry.get("dtype"), entry.get("shape")
        if dtype not in ITEM_BYTES:
            raise ModelError(f"{path}: tensor {name} is of type {dtype!r}, expected one of {', '.join(ITEM_BYTES)}")
        if not isinstance(shape, list) or not all(_is_size(dimension) for dimension in shape):
            raise ModelError(f"{path}: tensor {name} has the shape {repr(shape)[:60]}, expected a list of sizes")
        if begin != at or end - begin != math.prod(shape) * ITEM_BYTES[dtype]:
            expected = f"{_shown(shape)} of {dtype} from {at} on"
            raise ModelError(f"{path}: tensor {name} is at bytes {begin} to {end}, expected {expected}")
        at = end
        yield name, dtype, tuple(shape)
    if size != _LENGTH_BYTES + length + at:
        kind = "truncated: " if size < _LENGTH_BYTES + length + at else ""
        raise ModelError(f"{path}: {kind}{size} bytes, expected {_LENGTH_BYTES + length + at} by its header")


def _header(path: Path) -> tuple[int, dict[str, Any], int]:
    """Return the file's size, the header without its metadata, and the header's length."""
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            first = file.read(_LENGTH_BYTES)
            length = struct.unpack("<Q", first)[0] if len(first) == _LENGTH_BYTES else None
            if length is None or length > min(_LARGEST_HEADER, size - _LENGTH_BYTES):
                raise ModelError(f"{path}: {size} bytes and a header of {length}, expected a whole safetensors file")
            header = json.loads(file.read(length))
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path}: its header is no JSON ({error}), expected safetensors") from error
    if not isinstance(header, dict) or len(header.keys() - {"__metadata__"}) == 0:
        raise ModelError(f"{path}: its header names no tensor, expected safetensors")
    header.pop("__metadata__", None)
    return size, header, length


def _offsets(path: Path, name: str, entry: Any) -> tuple[int, int]:
    match entry:
        case {"data_offsets": [int(begin), int(end)]} if 0 <= begin <= end:
            return begin, end
        case _:
            raise ModelError(f"{path}: tensor {name} is {repr(entry)[:100]}, expected dtype, shape and data_offsets")


def _is_size(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_file_name(value: object) -> bool:
    return isinstance(value, str) and value.endswith(".safetensors") and "/" not in value and "\0" not in value


def _shown(shape: object) -> str:
    return " x ".join(map(str, shape)) if isinstance(shape, list | tuple) and shape else "nothing"
