"""Requirement files agree with each other and name no place."""

import re
from pathlib import Path

import pytest

REQUIREMENTS = Path(__file__).parents[2] / "requirements"


def pins(name: str) -> dict[str, str]:
    text = (REQUIREMENTS / f"{name}.txt").read_text()
    return dict(re.findall(r"^([a-z0-9][\w.-]*)==(\S+)", text, re.MULTILINE))


def test_one_environment_can_hold_what_developers_and_the_gpu_engine_need() -> None:
    developers, engine = pins("dev"), pins("nemotron")
    assert {"torch", "transformers", "onnxruntime", "nvidia-ml-py"} <= engine.keys()
    both = developers.keys() & engine.keys()
    assert len(both) > 20
    assert {name: engine[name] for name in both} == {name: developers[name] for name in both}
    assert "torch" not in developers


def test_the_image_for_the_cpu_has_the_same_pins_without_torch_and_cuda() -> None:
    whole, cpu = pins("nemotron"), pins("nemotron-cpu")
    assert cpu == {name: whole[name] for name in cpu}
    left_out = whole.keys() - cpu.keys()
    assert {"torch", "triton", "nvidia-cublas"} <= left_out
    assert all(name in {"torch", "triton"} or name.startswith(("nvidia-", "cuda-")) for name in left_out)
    assert {"nvidia-ml-py", "transformers", "sympy", "networkx"} <= cpu.keys()


@pytest.mark.parametrize("path", sorted(REQUIREMENTS.glob("*.txt")), ids=lambda path: path.stem)
def test_a_requirement_file_pins_everything_by_hash_and_names_no_address(path: Path) -> None:
    text = path.read_text()
    assert "://" not in text
    entries = [entry for entry in re.split(r"(?m)^(?=\S)", text) if entry.strip()]
    assert len(entries) > 5
    assert [entry.split()[0] for entry in entries if "--hash=sha256:" not in entry] == []
