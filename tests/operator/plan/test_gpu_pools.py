"""Pools on GPUs over an upgrade of the operator, and over changes of where their model comes from."""

import json
from dataclasses import replace
from typing import Any

from streamstack_operator.facts import ObjectKey, Release
from support.simulated import Simulated, spec, upgraded
from support.stack_specs import RELEASE

DEPLOYMENTS = "demo-asr-english-"


def settled(release: Release = RELEASE, **pool: Any) -> Simulated:
    it = Simulated(spec(pools=[{"name": "english"} | pool]), release=release)
    it.settle()
    return it


def change(it: Simulated, **pool: Any) -> None:
    it.change(pools=[{"name": "english"} | pool])
    it.settle()


def test_they_keep_their_pods_over_an_upgrade_until_their_spec_asks_for_others() -> None:
    it = settled(replace(RELEASE, renderer=2))
    before = it.deployments(DEPLOYMENTS)
    it.release = upgraded(it.release, "0.2.0", renderer=3)
    it.settle()
    change(it, replicas=2)
    assert it.deployments(DEPLOYMENTS) == before
    change(it, replicas=2, precision="Fp32")
    (after,) = it.deployments(DEPLOYMENTS) - before
    made = json.dumps(it.objects[ObjectKey("apps/v1", "Deployment", f"{DEPLOYMENTS}{after}")])
    assert '"fp32"' in made
    assert "/dev/shm" in made  # noqa: S108 - the pod's own


def test_a_pool_that_fetches_its_model_no_more_is_no_longer_let_out_for_it() -> None:
    way_out = ObjectKey("networking.k8s.io/v1", "NetworkPolicy", "demo-asr-english-archive")
    it = settled(modelArchive={"url": "https://models.example/a.tar", "sha256": "0" * 64, "addresses": ["0.0.0.0/0"]})
    assert way_out in it.objects
    change(it, modelVolume={"claimName": "models"})
    assert it.deployments(DEPLOYMENTS)
    assert way_out not in it.objects
