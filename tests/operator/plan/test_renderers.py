"""Revisions that an older renderer made, of which nothing but their Deployments is known."""

from dataclasses import replace

from streamstack_operator.build.rendering import NEWEST
from streamstack_operator.model.status import StreamingStackStatus
from support.simulated import Simulated, spec, upgraded
from support.stack_specs import RELEASE


def test_a_rollback_goes_back_to_a_revision_found_without_a_status_though_the_operator_is_a_newer_one() -> None:
    it = Simulated(spec(gateway={"replicas": 1}), release=replace(RELEASE, renderer=1))
    it.settle()
    old = it.active()
    it.begin(it.gateways()[0])
    it.change(gateway={"replicas": 1, "capacity": 8})
    it.settle(3)
    before = it.deployments()
    it.status = StreamingStackStatus()
    it.step()
    it.release = upgraded(it.release, "0.2.0", renderer=NEWEST)
    it.change(gateway={"replicas": 1})
    it.settle(3)
    assert it.active() == old
    assert it.deployments() <= before
    assert it.revision(old).rendering.version == 1
