from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from streamstack_operator.model.status import Phase, Rendering, Revision
from streamstack_operator.plan import draining, moments
from support.simulated import START, Simulated, spec

ACTIVE = Revision(revision="aaaaaaaa", phase=Phase.ACTIVE, rendering=Rendering(version=1, image="i"))
SECONDS = 11_100
READINGS = st.lists(st.tuples(st.integers(1, 120), st.none() | st.integers(0, 2)), max_size=40)


def rolled() -> tuple[Simulated, str]:
    """A stack whose old revision drains with one session."""
    it = Simulated(spec(maxSessionSeconds=600, drain={"marginSeconds": 60}, gateway={"replicas": 1}))
    it.settle()
    old = it.active()
    it.begin(it.gateways(old)[0])
    it.change(gateway={"replicas": 1, "capacity": 8})
    it.settle(3)
    assert it.revision(old).phase is Phase.DRAINING
    return it, old


@given(READINGS)
def test_no_cut_a_drain_ends_after_idle_readings_alone_or_at_its_deadline(
    readings: list[tuple[int, int | None]],
) -> None:
    now, it = START, draining.begin(ACTIVE, START, seconds=SECONDS)
    zero_since = None
    for seconds, sessions in readings:
        now += timedelta(seconds=seconds)
        it = draining.go_on(it, sessions, now, seconds=SECONDS)
        zero_since = (zero_since or now) if sessions == 0 else None
        idle = zero_since is not None and now - zero_since >= timedelta(seconds=draining.IDLE_SECONDS)
        assert it.phase is (Phase.ENDING if idle else Phase.DRAINING)
        if idle:
            return


@given(READINGS, st.integers(1, 10**6))
def test_deadlines_never_move_whatever_is_read_and_whatever_the_spec_says_by_then(
    readings: list[tuple[int, int | None]], other_seconds: int
) -> None:
    now, it = START, draining.begin(ACTIVE, START, seconds=SECONDS)
    for seconds, sessions in readings:
        now += timedelta(seconds=seconds)
        it = draining.go_on(it, sessions, now, seconds=other_seconds)
        assert (it.drain_started_at, it.drain_deadline) == (moments.text(START), moments.after(START, SECONDS))


def test_one_reading_of_zero_is_not_enough() -> None:
    it = draining.go_on(draining.begin(ACTIVE, START, seconds=SECONDS), 0, START, seconds=SECONDS)
    assert (it.phase, it.idle_since) == (Phase.DRAINING, moments.text(START))


def test_a_deadline_that_was_edited_beyond_reading_begins_a_whole_drain() -> None:
    broken = draining.begin(ACTIVE, START, seconds=SECONDS).model_copy(update={"drain_deadline": "tomorrow"})
    later = START + timedelta(hours=1)
    it = draining.go_on(broken, 1, later, seconds=SECONDS)
    assert it.drain_deadline == moments.after(later, SECONDS)


def test_no_cut_a_revision_with_a_session_stays_until_its_deadline_and_not_a_second_longer() -> None:
    it, old = rolled()
    deadline = moments.read(it.revision(old).drain_deadline)
    assert deadline is not None
    pod = it.gateways(old)[0]
    started = moments.read(it.revision(old).drain_started_at)
    assert started is not None
    assert deadline - started == timedelta(seconds=660)
    it.now = deadline - timedelta(seconds=1)
    it.step()
    assert old in it.deployments()
    it.now = deadline
    pod.sessions.clear()
    pod.answers = False
    planned = it.step()
    assert old not in it.deployments()
    assert [event.reason for event in planned.events if event.type == "Warning"] == ["RevisionDeadline"]


def test_unknown_is_busy_a_pod_that_cannot_be_asked_keeps_its_revision() -> None:
    it, old = rolled()
    pod = it.gateways(old)[0]
    pod.sessions.clear()
    pod.answers = False
    for _ in range(10):
        it.pass_time(20)
        it.step()
    assert old in it.deployments()
    assert it.revision(old).sessions is None
    assert it.status.gateway.sessions is None


def test_unknown_is_busy_a_pod_that_goes_and_cannot_be_asked_keeps_its_revision() -> None:
    it, old = rolled()
    it.gateways(old)[0].terminating = True
    it.gateways(old)[0].answers = False
    it.controllers()
    for _ in range(5):
        it.pass_time(20)
        it.step()
    assert old in it.deployments()


def test_unknown_is_busy_a_pod_that_only_the_deployment_knows_of_keeps_its_revision() -> None:
    """A cache of pods may lag behind; the Deployment's own count says that there is one."""
    it, old = rolled()
    it.pods = {uid: pod for uid, pod in it.pods.items() if pod.revision != old}
    for _ in range(5):
        it.now += timedelta(seconds=20)
        planned = it.planned()
        it.status = planned.status
        assert planned.delete == ()
    assert it.revision(old).sessions is None


def test_a_pod_in_which_nothing_runs_keeps_nothing() -> None:
    it, old = rolled()
    pod = it.gateways(old)[0]
    pod.sessions.clear()
    pod.running = False
    for _ in range(4):
        it.pass_time(6)
        it.step()
    assert old not in it.deployments()


def test_a_session_that_comes_late_begins_the_wait_anew() -> None:
    it, old = rolled()
    pod = it.gateways(old)[0]
    it.end(pod)
    it.step()
    assert it.revision(old).idle_since is not None
    it.pass_time(5)
    it.begin(pod)
    it.step()
    assert it.revision(old).idle_since is None
    it.end(pod)
    it.pass_time(6)
    it.step()
    assert old in it.deployments()


def test_a_drained_revision_goes_with_its_budget_and_leaves_the_status_when_its_pods_are_gone() -> None:
    it, old = rolled()
    it.end(it.gateways(old)[0])
    it.step()
    it.pass_time(12)
    planned = it.step()
    assert {str(key) for key in planned.delete} == {
        f"Deployment demo-gateway-{old}",
        f"PodDisruptionBudget demo-gateway-{old}",
    }
    assert it.revision(old).phase is Phase.ENDING
    it.step()
    assert [each.revision for each in it.part().revisions] == [it.active()]
    assert it.condition("Draining") == ("False", "NothingDrains")
