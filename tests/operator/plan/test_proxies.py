"""Which license proxies stay for what their journals hold: where fewer are asked for, and where a stack is deleted."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamstack_common.license_status import LicenseReport, LicenseState
from streamstack_operator.names import FINALIZER
from support.owing import EMPTY, SET, fewer, owes, proxies, replicas, running, told
from support.simulated import Simulated, spec


def test_more_proxies_are_made_at_once() -> None:
    it = running()
    fewer(it, 3)
    it.step()
    assert replicas(it) == 3


def test_proxies_with_an_empty_journal_go_at_once() -> None:
    it = running(3)
    fewer(it, 1)
    it.step()
    assert replicas(it) == 1
    assert it.condition("Progressing") == ("False", "Settled")


def test_a_proxy_with_usage_in_its_journal_stays_until_the_authority_has_it() -> None:
    it = running(3)
    proxies(it)[1].backlog = owes(3)
    fewer(it, 1)
    it.step()
    assert replicas(it) == 2, "the highest went: its journal was empty"
    it.step()
    assert it.condition("Progressing") == ("True", "UsageUnreported")
    message = it.message("Progressing")
    assert message.startswith("license proxies: 1 are wanted and 2 stay for now: demo-license-proxy-1 has usage that")
    assert message.endswith("kubectl --namespace calls scale statefulset demo-license-proxy --replicas=1")
    assert it.condition("Ready") == ("True", "Running")
    assert it.planned().again_seconds == 5
    proxies(it)[1].backlog = EMPTY
    it.step()
    assert replicas(it) == 1


def test_unknown_is_busy_a_proxy_that_cannot_be_asked_is_not_taken_away() -> None:
    it = running(2)
    proxies(it)[1].answers = False
    fewer(it, 1)
    it.step()
    assert replicas(it) == 2
    assert "demo-license-proxy-1 cannot be asked for its journal" in it.message("Progressing")


def test_a_proxy_below_one_that_has_to_stay_stays_too() -> None:
    """A StatefulSet takes the highest ordinal first."""
    it = running(3)
    proxies(it)[2].backlog = owes(1)
    fewer(it, 1)
    it.step()
    assert replicas(it) == 3


def test_no_proxy_goes_while_none_of_those_that_stay_could_take_usage() -> None:
    it = running(2)
    proxies(it)[0].ready = False
    fewer(it, 1)
    it.step()
    assert replicas(it) == 2
    assert "none of those that stay is ready to take usage" in it.message("Progressing")


def test_with_flat_billing_a_proxy_that_cannot_be_asked_may_go() -> None:
    it = running(2, billing="flat")
    proxies(it)[1].answers = False
    fewer(it, 1)
    it.step()
    assert replicas(it) == 1


def test_a_person_may_take_a_proxy_away_all_the_same() -> None:
    it = running(2)
    proxies(it)[1].backlog = owes(3)
    fewer(it, 1)
    it.step()
    it.objects[SET]["spec"]["replicas"] = 1
    it.controllers()
    it.step()
    assert replicas(it) == 1
    assert it.condition("Progressing") == ("False", "Settled")


JOURNALS = st.lists(st.sampled_from(["empty", "owes", "silent", "away"]), min_size=1, max_size=6)


@settings(max_examples=60, deadline=None)
@given(JOURNALS, st.integers(1, 6), st.lists(st.booleans(), min_size=6, max_size=6))
def test_billed_once_no_journal_that_may_hold_usage_is_ever_taken_away(
    journals: list[str], wanted: int, ready: list[bool]
) -> None:
    it = running(len(journals))
    states = {pod.uid: state for pod, state in zip(proxies(it), journals, strict=True)}
    for pod, is_ready in zip(proxies(it), ready, strict=False):
        state = states[pod.uid]
        pod.ready, pod.answers = is_ready, state != "away"
        pod.backlog = {"empty": EMPTY, "owes": owes(2)}.get(state)
    fewer(it, wanted)
    for _ in range(3):
        left = replicas(it)
        it.step()
        gone = [state for ordinal, state in enumerate(journals) if replicas(it) <= ordinal < left]
        assert set(gone) <= {"empty"}
        assert not gone or any(ready[:wanted])


# ------------------------------------------------------------------------------------------------- a deleted stack


def deleted(*, billing: str = "usage", on_delete: bool = True) -> Simulated:
    it = Simulated(spec(drain={"onDelete": on_delete, "marginSeconds": 60}, maxSessionSeconds=600))
    it.license = LicenseReport.model_validate({"state": LicenseState.CONNECTED, "billing": billing})
    it.settle()
    it.deleting, it.finalizers = True, (FINALIZER,)
    return it


def test_a_deleted_stack_stays_until_the_authority_has_its_usage() -> None:
    it = deleted()
    proxies(it)[0].backlog = owes(3)
    it.step()
    assert it.gateways() == []
    planned = it.step()
    assert (planned.finalizer, planned.delete, planned.apply, planned.scale) == (True, (), (), ())
    assert it.condition("Draining") == ("True", "UsageUnreported")
    assert "until 2026-11-21T12:11:00Z at the latest" in it.message("Draining")
    assert told(planned) == [("Normal", "UsageUnreported")]
    proxies(it)[0].backlog = EMPTY
    assert it.step().finalizer is False


def test_a_deleted_stack_waits_for_usage_no_longer_than_its_sessions_had() -> None:
    it = deleted()
    proxies(it)[0].backlog = owes(3)
    it.step()
    it.pass_time(600)
    it.change(maxSessionSeconds=6000)
    assert it.step().finalizer is True
    it.pass_time(60)
    assert it.step().finalizer is False, "deadlines never move"


def test_unknown_is_busy_a_proxy_that_cannot_be_asked_keeps_a_deleted_stack() -> None:
    it = deleted()
    proxies(it)[0].answers = False
    it.step()
    assert it.step().finalizer is True
    assert "usage unknown, since demo-license-proxy-0 cannot be asked" in it.message("Draining")


@pytest.mark.parametrize(("billing", "on_delete"), [("flat", True), ("usage", False)])
def test_a_deleted_stack_goes_at_once_where_nothing_is_billed_or_no_drain_is_asked_for(
    billing: str, on_delete: bool
) -> None:
    it = deleted(billing=billing, on_delete=on_delete)
    proxies(it)[0].answers = False
    it.step()
    assert it.step().finalizer is False


def test_a_stack_whose_license_never_told_anything_owes_nothing_and_goes() -> None:
    it = Simulated(spec(drain={"onDelete": True}))
    it.license = None
    it.settle()
    it.deleting, it.finalizers = True, (FINALIZER,)
    it.step()
    assert it.step().finalizer is False
