"""Conditions, their reasons and messages, the summary line, and Events."""

from datetime import timedelta
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamstack_operator.facts import Plan, Problem
from streamstack_operator.model.status import (
    ComponentStatus,
    Phase,
    Rendering,
    Revision,
    StackCondition,
    StreamingStackStatus,
)
from streamstack_operator.names import Component, Condition, Reason
from streamstack_operator.plan import conditions, moments
from streamstack_operator.plan.conditions import Finding, no, unknown, yes
from streamstack_operator.plan.planner import paused, refused
from streamstack_operator.plan.status import settled as kept_still
from support.simulated import START, Simulated, spec

FINDINGS = st.builds(
    lambda make, kind, reason: make(kind, reason, f"because of {reason}"),
    st.sampled_from([yes, no, unknown]),
    st.sampled_from(Condition),
    st.sampled_from(["One", "Another"]),
)
PASSES = st.lists(
    st.tuples(st.lists(FINDINGS, max_size=4, unique_by=lambda each: each.type), st.integers(0, 5)), max_size=10
)
PROBLEMS = MappingProxyType(
    {
        Reason.UNSCHEDULABLE: "no node takes it: 0/3 nodes: insufficient nvidia.com/gpu",
        Reason.IMAGE_UNAVAILABLE: "image gone:1: ErrImagePull",
        Reason.CRASHING: "ended with status 2",
        Reason.VOLUME_MISSING: "CreateContainerConfigError: secret not found",
    }
)


def running(**changes: object) -> Simulated:
    it = Simulated(spec(gateway={"replicas": 2}, **changes))
    it.settle()
    return it


def reasons(planned: Plan) -> list[str]:
    return [str(event.reason) for event in planned.events]


# --------------------------------------------------------------------------------------------------- conditions


@given(PASSES)
def test_a_conditions_time_is_that_of_the_last_change_of_its_status(passes: list[tuple[list[Finding], int]]) -> None:
    said: list[StackCondition] = []
    now, since = START, {}
    for findings, seconds in passes:
        now += timedelta(seconds=seconds)
        before = {each.type: each.status for each in said}
        said = conditions.conditions(said, findings, generation=1, now=now)
        since |= {each.type: moments.text(now) for each in said if before.get(each.type) is not each.status}
        assert {each.type: each.last_transition_time for each in said} == since


def test_ready_comes_first_and_all_carry_the_generation_they_were_said_of() -> None:
    it = running()
    it.change(gateway={"replicas": 3})
    it.step()
    assert [each.type for each in it.status.conditions] == [str(kind) for kind in Condition]
    assert {each.observed_generation for each in it.status.conditions} == {it.generation}
    assert it.status.observed_generation == it.generation


def test_a_message_is_no_longer_than_the_schema_allows() -> None:
    (said,) = conditions.conditions([], [no(Condition.READY, "Long", "x" * 5000)], generation=1, now=START)
    assert len(said.message) == conditions.LONGEST_MESSAGE


# ------------------------------------------------------------------------------------------------ what runs, or not


def test_a_stack_that_runs_is_ready_settled_and_says_so_in_one_line() -> None:
    it = running()
    assert {kind: it.condition(kind) for kind in Condition} == {
        Condition.READY: ("True", "Running"),
        Condition.ACCEPTED: ("True", "Valid"),
        Condition.PROGRESSING: ("False", "Settled"),
        Condition.GATEWAY_AVAILABLE: ("True", "Available"),
        Condition.ASR_AVAILABLE: ("True", "Available"),
        Condition.LICENSE_VALID: ("True", "Connected"),
        Condition.USAGE_BACKLOG: ("False", "UsageReported"),
        Condition.DRAINING: ("False", "NothingDrains"),
    }
    assert it.status.summary == "2/2 gateways, 1/1 ASR, 0 sessions, license Connected, operator 0.1.0"


def test_what_is_wrong_stands_first_in_the_summary() -> None:
    it = Simulated()
    it.step()
    assert it.status.summary.startswith("Starting: 0/2 gateways, 0/1 ASR")


@pytest.mark.parametrize("reason", PROBLEMS)
@pytest.mark.parametrize(
    ("component", "condition"),
    [(Component.GATEWAY, Condition.GATEWAY_AVAILABLE), (Component.ASR, Condition.ASR_AVAILABLE)],
)
def test_what_keeps_every_pod_from_running_is_told_with_its_reason(
    reason: Reason, component: Component, condition: Condition
) -> None:
    it = Simulated()
    it.step()
    it.all_ready()
    for pod in it.of(component):
        pod.ready, pod.problem = False, Problem(reason, PROBLEMS[reason])
    planned = it.step()
    for kind in (condition, Condition.PROGRESSING, Condition.READY):
        assert it.condition(kind) == ("False", reason)
        assert PROBLEMS[reason] in it.message(kind)
    assert reasons(planned).count(reason) == 1
    assert reasons(it.step()) == []


def test_the_gravest_problem_is_the_one_that_is_told() -> None:
    it = Simulated()
    it.step()
    first, second = it.gateways()
    first.problem = Problem(Reason.CRASHING, "crashes")
    second.problem = Problem(Reason.UNSCHEDULABLE, "no node")
    it.step()
    assert it.condition("GatewayAvailable") == ("False", "Unschedulable")


def test_some_gateways_are_enough_to_be_available_and_the_message_says_how_many() -> None:
    it = running()
    it.gateways()[0].ready = False
    it.gateways()[0].problem = Problem(Reason.CRASHING, "ended with status 1")
    it.step()
    assert it.condition("GatewayAvailable") == ("True", "Available")
    assert it.condition("Ready") == ("True", "Running")
    assert it.message("GatewayAvailable") == "gateways: 1 of 2 ready; ended with status 1"
    assert it.condition("Progressing") == ("False", "Crashing")


def test_a_pool_that_serves_nobody_is_named() -> None:
    it = running(pools=[{"name": "english", "engine": "Sphinx"}, {"name": "pro", "engine": "Sphinx"}])
    for pod in it.of(Component.ASR, pool="pro"):
        pod.ready = False
    it.step()
    assert it.condition("ASRAvailable") == ("False", "Starting")
    assert it.message("ASRAvailable") == "pool pro: 0 of 1 ready; starting"


def test_a_quota_that_keeps_pods_from_being_made_is_told() -> None:
    it = Simulated()
    it.step()
    it.pods.clear()
    name = f"demo-gateway-{it.active()}"
    it.failures = (Problem(Reason.QUOTA, f"Deployment {name} cannot make pods: exceeded quota"),)
    it.status = it.planned().status
    assert it.condition("GatewayAvailable") == ("False", "QuotaExceeded")
    assert it.condition("Accepted") == ("True", "Valid"), "the namespace has no room; the spec is all right"


@pytest.mark.parametrize("reason", [Reason.NAME_CLASH, Reason.FORBIDDEN, Reason.REFUSED])
def test_what_the_api_server_refused_is_told_and_a_stack_that_lacks_it_is_not_ready(reason: Reason) -> None:
    it = running()
    it.failures = (Problem(reason, "Service demo-gateway: rename it"),)
    planned = it.step()
    assert it.condition("Accepted") == it.condition("Progressing") == ("False", reason)
    assert it.condition("Ready") == ("True", "Running"), "all is there"
    assert reasons(planned) == [reason]
    del it.objects[next(key for key in it.objects if str(key) == "Service demo-gateway")]
    it.status = it.planned().status
    assert it.condition("Ready") == ("False", reason)
    it.failures = ()
    assert reasons(it.step()) == ["Ready", "Valid"]


def test_a_new_revision_that_cannot_start_is_told_while_the_old_one_serves() -> None:
    it = running()
    it.change(gateway={"replicas": 2, "capacity": 8})
    it.step()
    for pod in it.gateways():
        pod.problem = None if pod.ready else Problem(Reason.IMAGE_UNAVAILABLE, "image gone:1")
    it.step()
    assert it.condition("Progressing") == ("False", "ImageUnavailable")
    assert it.condition("Ready") == ("True", "Running")


def test_a_drain_is_told_with_its_sessions_and_its_end() -> None:
    it = running(maxSessionSeconds=600, drain={"marginSeconds": 60})
    old = it.active()
    it.begin(it.gateways()[0])
    it.change(gateway={"replicas": 2, "capacity": 8})
    it.settle(3)
    until = it.revision(old).drain_deadline
    assert it.condition("Draining") == ("True", "RevisionsDraining")
    assert it.message("Draining") == f"revision {old} of gateways drains, until {until} at the latest: 1 session"
    assert it.condition("Progressing") == ("False", "PreviousRevisionsDraining")
    assert it.planned().again_seconds == 5


# --------------------------------------------------------------------------------------------- left alone, and Events


def test_a_spec_that_is_not_accepted_changes_nothing_and_says_what_is_wrong() -> None:
    it = running()
    problem = Problem(Reason.INVALID_SPEC, "spec.gateway.replicas: found 0, expected 1 or more")
    planned = refused(it.status, generation=2, problem=problem, now=it.now)
    assert (planned.apply, planned.scale, planned.delete, planned.credential) == ((), (), (), None)
    assert reasons(planned) == ["InvalidSpec", "NotReady"]
    it.status = planned.status
    assert it.condition("Accepted") == ("False", "InvalidSpec")
    assert it.condition("Ready") == ("False", "NotAccepted")
    assert it.status.observed_generation == 2
    assert it.status.gateway.active_revision is not None
    assert refused(it.status, generation=2, problem=problem, now=it.now).events == ()


def test_a_paused_stack_says_so_and_keeps_what_was_known() -> None:
    it = running()
    planned = paused(it.status, generation=1, now=it.now)
    assert (planned.apply, planned.scale, planned.delete, planned.credential) == ((), (), (), None)
    it.status = planned.status
    assert it.condition("Ready") == ("False", "Paused")
    assert it.condition("GatewayAvailable") == ("True", "Available")


def test_a_rollout_is_told_once_by_events() -> None:
    it = Simulated(spec(gateway={"replicas": 1}))
    told = [reasons(it.step())]
    it.all_ready()
    told += [reasons(it.step()), reasons(it.step())]
    assert told == [
        ["RevisionActive", "RevisionActive"],
        ["Ready", "LicenseConnected", "CredentialMade"],
        [],
    ]
    it.change(gateway={"replicas": 1, "capacity": 8})
    told = []
    for _ in range(6):
        told += reasons(it.step())
        it.all_ready()
        it.pass_time(6)
    assert told == ["RevisionActive", "RevisionDrained"]


def test_a_rotation_is_told_by_events() -> None:
    it = running()
    it.annotations["streamstack.dev/rotate-credential"] = "1"
    it.step()
    assert reasons(it.step()) == ["CredentialRotating"]


# ------------------------------------------------------------------------------------------------ numbers kept still


def status_with(sessions: int | None) -> StreamingStackStatus:
    revision = Revision(revision="a", phase=Phase.ACTIVE, rendering=Rendering(version=1, image="i"), sessions=sessions)
    return StreamingStackStatus(gateway=ComponentStatus(sessions=sessions, revisions=[revision]))


COUNTS = st.none() | st.integers(0, 500)


@given(COUNTS, COUNTS)
def test_a_number_of_sessions_is_written_anew_only_when_it_changed_by_a_tenth(
    before: int | None, now: int | None
) -> None:
    told = kept_still(status_with(before), status_with(now)).gateway
    assert told.sessions == told.revisions[0].sessions
    if not before or not now or abs(now - before) * 10 >= before:
        assert told.sessions == now
    else:
        assert told.sessions == before


def test_a_busy_stack_whose_sessions_come_and_go_writes_nothing() -> None:
    it = running()
    for _ in range(100):
        it.begin(it.gateways()[0])
    it.pass_time(1)
    it.step()
    before = it.status
    for _ in range(5):
        it.begin(it.gateways()[1])
        it.step()
    assert it.status == before
