import pytest

from streamstack_operator.facts import ObjectKey
from streamstack_operator.names import FINALIZER, Component
from support.simulated import Simulated, spec


def deleted(*, on_delete: bool = True, finalizer: bool = True) -> Simulated:
    it = Simulated(spec(drain={"onDelete": on_delete, "marginSeconds": 60}, maxSessionSeconds=600))
    it.settle()
    it.begin(it.gateways()[0])
    it.begin(it.of(Component.ASR)[0])
    it.deleting = True
    it.finalizers = (FINALIZER,) if finalizer else ()
    return it


@pytest.mark.parametrize("on_delete", [True, False])
def test_a_stack_carries_the_finalizer_exactly_when_it_is_to_drain_on_deletion(on_delete: bool) -> None:
    it = Simulated(spec(drain={"onDelete": on_delete}))
    assert it.planned().finalizer is on_delete


def test_no_cut_a_deleted_stack_stops_its_gateways_and_keeps_all_that_their_sessions_need() -> None:
    it = deleted()
    before = set(it.objects)
    planned = it.step()
    assert (planned.apply, planned.scale, planned.finalizer) == ((), (), True)
    assert it.deployments() == set()
    assert {key.kind for key in before - set(it.objects)} == {"Deployment"}
    assert ObjectKey("v1", "Service", "demo-asr-english") in it.objects
    assert [pod.terminating for pod in it.gateways()] == [True]


def test_a_deleted_stack_goes_when_no_gateway_pod_is_left() -> None:
    it = deleted()
    it.step()
    again = it.step()
    assert (again.finalizer, again.delete) == (True, ())
    it.end(it.gateways()[0])
    assert it.step().finalizer is False


def test_unknown_is_busy_a_gateway_that_cannot_be_asked_keeps_a_deleted_stack() -> None:
    it = deleted()
    it.gateways()[0].answers = False
    it.step()
    assert it.step().finalizer is True
    assert "sessions unknown" in it.message("Draining")


def test_a_deleted_stack_says_how_many_sessions_it_waits_for_and_how_long_at_most() -> None:
    it = deleted()
    it.step()
    assert it.condition("Draining") == ("True", "StackDraining")
    assert it.condition("Ready") == ("False", "Deleting")
    assert it.message("Draining").startswith("1 session;")
    assert "2026-11-21T12:11:00Z at the latest" in it.message("Draining")
    it.pass_time(30)
    it.step()
    assert "2026-11-21T12:11:00Z at the latest" in it.message("Draining"), "deadlines never move"


def test_turning_drain_on_delete_off_lets_go_of_a_deleted_stack() -> None:
    it = deleted()
    it.step()
    it.change(drain={"onDelete": False})
    planned = it.step()
    assert (planned.finalizer, planned.delete, planned.apply) == (False, (), ())


@pytest.mark.parametrize("on_delete", [True, False])
def test_a_deleted_stack_without_our_finalizer_is_nothing_to_do_for(on_delete: bool) -> None:
    it = deleted(on_delete=on_delete, finalizer=False)
    planned = it.planned()
    assert (planned.finalizer, planned.delete, planned.apply, planned.scale) == (False, (), (), ())


def test_the_drain_of_a_deleted_stack_is_one_event() -> None:
    it = deleted()
    first, second = it.step(), it.step()
    assert [event.reason for event in first.events] == ["NotReady", "StackDraining"]
    assert second.events == ()
