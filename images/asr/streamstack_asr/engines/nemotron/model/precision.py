"""Which number format a device computes in."""

from typing import Final

import torch

from streamstack_asr.engines.nemotron.facts import ModelError

PRECISIONS: Final = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}
BF16_CAPABILITY: Final = (8, 0)
"""The least compute capability with bfloat16 arithmetic (CUDA C++ programming guide, "compute capability 8.x")."""


def choose(precision: str, device: torch.device) -> torch.dtype:
    """Return the format for ``precision``: auto, bf16, fp16, or fp32 (the same words whatever shares a batch).

    Raises ModelError when the device cannot compute in it.
    """
    if precision == "auto":
        if device.type == "cpu":
            return torch.bfloat16 if _fast_on_cpu() else torch.float32
        modern = torch.cuda.get_device_capability(device) >= BF16_CAPABILITY
        return torch.bfloat16 if modern else torch.float16
    if precision not in PRECISIONS:
        raise ModelError(f"precision {precision!r}: expected auto, {', '.join(PRECISIONS)}")
    if precision == "fp16" and device.type == "cpu":
        raise ModelError("precision 'fp16' on a CPU: expected auto, bf16 or fp32")
    return PRECISIONS[precision]


def name_of(dtype: torch.dtype) -> str:
    """Return the setting's name of a format."""
    return next(name for name, known in PRECISIONS.items() if known is dtype)


def _fast_on_cpu() -> bool:
    """Tell whether bf16 is arithmetic here; without it torch converts every operand, and fp32 is faster."""
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
