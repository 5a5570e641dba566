import json

from devcluster.fake_gpus import patch


def test_gpus_are_capacity_and_allocatable_alike() -> None:
    assert json.loads(patch(2))["status"] == {
        "capacity": {"nvidia.com/gpu": "2"},
        "allocatable": {"nvidia.com/gpu": "2"},
    }


def test_none_takes_the_claim_away() -> None:
    assert json.loads(patch(0))["status"]["capacity"] == {"nvidia.com/gpu": None}


def test_a_slice_of_a_gpu_is_claimed_by_its_own_name() -> None:
    assert json.loads(patch(3, resource="nvidia.com/mig-3g.40gb"))["status"]["allocatable"] == {
        "nvidia.com/mig-3g.40gb": "3"
    }
