import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import pytest

from streamstack_asr.engines.base import EngineError
from streamstack_asr.engines.nemotron import gpu, setup
from streamstack_asr.engines.nemotron.gpu import Gpu
from streamstack_asr.engines.nemotron.setup import Setup
from streamstack_asr.engines.nemotron.store import StoreSettings, locate
from streamstack_asr.engines.options import EngineOptions
from support.fake_fleet import TINY

CORES = len(os.sched_getaffinity(0))


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes the driver show as many GPUs as a test says."""

    def show(count: int) -> None:
        found = tuple(Gpu(f"GPU {index}", (9, 0)) for index in range(count))
        monkeypatch.setattr(gpu, "look", lambda nvml: ("580.1" if count else None, found))

    show(0)
    return show


def planned(environment: Mapping[str, str] | None = None, **options: Any) -> Setup:
    chosen = EngineOptions(**{"models": ("en-default",), "model_dir": str(TINY)} | options)
    return setup.plan(chosen, locate(StoreSettings.of(chosen)), environment or {})


def test_without_a_gpu_one_worker_uses_every_core(gpus: Any) -> None:
    [worker] = planned(slots=5).workers
    assert (worker.config.device, worker.config.threads, worker.config.slots) == ("cpu", CORES, 5)
    assert worker.environment == {
        "OMP_NUM_THREADS": str(CORES),
        "MKL_NUM_THREADS": str(CORES),
        "OMP_WAIT_POLICY": "PASSIVE",
    }


def test_workers_on_the_cpu_share_its_cores(gpus: Any) -> None:
    workers = planned(workers=2 * CORES).workers
    assert [worker.config.threads for worker in workers] == [1] * 2 * CORES


def test_each_gpu_has_a_worker_that_sees_it_alone(gpus: Any) -> None:
    gpus(3)
    workers = planned(slots=96).workers
    assert [worker.environment["CUDA_VISIBLE_DEVICES"] for worker in workers] == ["0", "1", "2"]
    assert {(worker.config.device, worker.config.threads) for worker in workers} == {("cuda", 1)}


def test_slots_are_shared_out_with_some_to_spare(gpus: Any) -> None:
    gpus(3)
    assert [worker.config.slots for worker in planned(slots=96).workers] == [36] * 3
    assert [worker.config.slots for worker in planned(slots=2).workers] == [2] * 3


@pytest.mark.parametrize(
    ("listed", "expected"),
    [("1,0", ["1", "0"]), ("GPU-ab,MIG-cd", ["GPU-ab", "MIG-cd"]), ("2,-1,0", ["2"]), (" 3 ", ["3"])],
)
def test_the_environments_list_of_gpus_is_kept_to(gpus: Any, listed: str, expected: list[str]) -> None:
    gpus(4)
    workers = planned({"CUDA_VISIBLE_DEVICES": listed}).workers
    assert [worker.environment["CUDA_VISIBLE_DEVICES"] for worker in workers] == expected


def test_gpus_that_are_hidden_or_not_asked_for_are_left_alone(gpus: Any) -> None:
    gpus(2)
    assert planned({"CUDA_VISIBLE_DEVICES": ""}).workers[0].config.device == "cpu"
    assert planned(device="cpu").workers[0].config.device == "cpu"


def test_several_workers_can_share_a_gpu(gpus: Any) -> None:
    gpus(2)
    workers = planned(workers=3).workers
    assert [worker.environment["CUDA_VISIBLE_DEVICES"] for worker in workers] == ["0", "1", "0"]


def test_a_gpu_that_is_asked_for_and_missing_is_left_to_the_worker_to_explain(gpus: Any) -> None:
    [worker] = planned(device="cuda").workers
    assert worker.config.device == "cuda"


def test_the_description_is_the_models(gpus: Any) -> None:
    description = planned(models=("en-default", "en-fast"), chunk_ms="en-default=560,en-fast=80").description
    assert (description.engine, description.models) == ("nemotron", ("en-default", "en-fast"))
    assert (description.chunk_ms, description.left_context_ms, description.window_ms) == (80, 28 * 80, 10_000)
    assert (description.languages, description.model) == (("en",), "tiny")
    assert (description.keyterms, description.batch, description.punctuation) == (True, True, False)


@pytest.mark.parametrize(
    "options", [{"models": ()}, {"models": ("",)}, {"models": ("m",), "workers": -1}, {"models": ("m",), "slots": 0}]
)
def test_wrong_options_are_named(options: dict[str, Any]) -> None:
    with pytest.raises(EngineError, match="expected"):
        setup.check(EngineOptions(**options))


def test_the_servers_half_needs_no_torch() -> None:
    code = (
        "import sys, streamstack_asr.engines.nemotron.engine\n"
        "sys.exit(', '.join({'torch', 'transformers', 'onnxruntime', 'tokenizers'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True, check=False)
    assert done.stderr.strip() == ""
