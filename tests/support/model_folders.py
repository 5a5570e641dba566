"""Model folders as transformers writes them, small, with tensors of zeros; made without torch."""

import json
import math
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ITEM_BYTES = {"F16": 2, "BF16": 2, "F32": 4, "I64": 8}
VOCABULARY = 6
HIDDEN = 8
LAYERS = 2

CONFIG = {
    "model_type": "nemotron_asr_streaming",
    "architectures": ["NemotronAsrStreamingForRNNT"],
    "vocab_size": VOCABULARY,
    "blank_token_id": VOCABULARY - 1,
    "encoder_config": {
        "hidden_size": HIDDEN,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": 2,
        "num_mel_bins": 80,
        "sliding_window": 29,
        "default_num_lookahead_tokens": 3,
    },
}
PIECES = ("<unk>", "\u2581a", "b", "c", "d")
TOKENIZER = {"added_tokens": [], "model": {"type": "BPE", "vocab": {piece: at for at, piece in enumerate(PIECES)}}}
SHAPES: Mapping[str, tuple[int, ...]] = {
    "encoder.subsampling.conv_in.weight": (2, 1, 3, 3),
    "encoder.subsampling.linear.weight": (HIDDEN, 2 * 11),
    **{f"encoder.layers.{layer}.norm_out.weight": (HIDDEN,) for layer in range(LAYERS)},
    "encoder_projector.weight": (4, HIDDEN),
    "decoder.embedding.weight": (VOCABULARY, 4),
    "joint.head.weight": (VOCABULARY, 4),
}


def write_model(folder: Path, *, dtype: str = "F16", shapes: Mapping[str, tuple[int, ...]] = SHAPES) -> Path:
    """Write a whole model and return its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "config.json", CONFIG)
    write_json(folder / "tokenizer.json", TOKENIZER)
    (folder / "model.safetensors").write_bytes(safetensors(shapes, dtype=dtype))
    return folder


def write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content))


def safetensors(shapes: Mapping[str, tuple[int, ...]], *, dtype: str = "F16") -> bytes:
    """Return a file of zeros with these tensors."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name, shape in shapes.items():
        size = math.prod(shape) * ITEM_BYTES[dtype]
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    return with_header(header) + bytes(at)


def with_header(header: Any) -> bytes:
    """Return the beginning of a safetensors file."""
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text
