"""What holds whatever happens in whatever order: plans carried out in a cluster in memory (DESIGN 3)."""

from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from streamstack_common.usage import UsageBacklog
from streamstack_operator.facts import ObjectKey
from streamstack_operator.model.spec import StreamingStackSpec
from streamstack_operator.model.status import Phase, StreamingStackStatus
from streamstack_operator.names import Component
from support.simulated import SimPod, Simulated, spec, upgraded
from support.stack_specs import RELEASE, specs

ENGLISH = {"name": "english", "engine": "Sphinx"}
PRO = {"name": "pro", "engine": "Sphinx"}
LIMIT_SECONDS = 600
MARGIN_SECONDS = 60


class Cluster(RuleBasedStateMachine):
    """A stack to which everything happens that people, nodes, clients and dying operators do."""

    def __init__(self) -> None:
        super().__init__()
        drain = {"marginSeconds": MARGIN_SECONDS, "maxDrainingRevisions": 2}
        wanted = spec(maxSessionSeconds=LIMIT_SECONDS, drain=drain, gateway={"replicas": 1})
        self.it = Simulated(wanted, release=replace(RELEASE, renderer=1))
        self.deadlines: dict[str, tuple[str | None, str | None]] = {}
        self.it.settle()

    def _pod(self, data: st.DataObject, pods: list[SimPod]) -> SimPod:
        return data.draw(st.sampled_from(sorted(pods, key=lambda pod: pod.uid)))

    def _step(self, *, dies: bool = False) -> None:
        """Make a pass; no deadline moves by it, but those of revisions that new sessions came to again."""
        led_to = {self.it.selected(), self.it.selected("demo-asr-english"), self.it.selected("demo-asr-pro")}
        self.it.step(dies=dies)
        drains = {
            each.revision: (each.drain_started_at, each.drain_deadline)
            for part in (self.it.status.gateway, *self.it.status.pools)
            for each in part.revisions
            if each.phase in {Phase.DRAINING, Phase.ENDING}
        }
        for revision, said in drains.items():
            assert revision in led_to or self.deadlines.get(revision, said) == said
        self.deadlines = drains

    # ------------------------------------------------------------------------------------------------- people

    @rule(capacity=st.sampled_from([8, 16, 32]), replicas=st.integers(1, 2))
    def change_gateways(self, capacity: int, replicas: int) -> None:
        self.it.change(gateway={"capacity": capacity, "replicas": replicas})

    @rule(slots=st.sampled_from([5, 6]), pools=st.sampled_from([[ENGLISH], [ENGLISH, PRO], [PRO]]))
    def change_pools(self, slots: int, pools: list[dict[str, Any]]) -> None:
        self.it.change(pools=[pool | {"slots": slots} for pool in pools])

    @rule(balancer=st.sampled_from(["Gateway", "Nginx"]))
    def change_balancer(self, balancer: str) -> None:
        self.it.change(balancer=balancer)

    @rule(replicas=st.integers(1, 3))
    def change_license_proxies(self, replicas: int) -> None:
        self.it.change(license={"secretName": "license", "replicas": replicas})

    @rule(tag=st.sampled_from(["1", "2"]))
    def ask_for_new_templates(self, tag: str) -> None:
        self.it.annotations["streamstack.dev/render"] = tag

    @rule(data=st.data())
    def lead_the_service_elsewhere_by_hand(self, data: st.DataObject) -> None:
        revisions = sorted(self.it.deployments())
        service = self.it.objects.get(ObjectKey("v1", "Service", "demo-gateway"))
        if service is not None and revisions:
            service["spec"]["selector"]["streamstack.dev/revision"] = data.draw(st.sampled_from(revisions))

    # ------------------------------------------------------------------------------------------- pods and clients

    @precondition(lambda self: self.it.pods)
    @rule(data=st.data(), ready=st.booleans())
    def readiness(self, data: st.DataObject, ready: bool) -> None:
        pod = self._pod(data, list(self.it.pods.values()))
        pod.ready = ready and pod.running
        self.it.controllers()

    @rule()
    def all_become_ready(self) -> None:
        self.it.all_ready()

    @precondition(lambda self: self.it.pods)
    @rule(data=st.data(), answers=st.booleans())
    def reach(self, data: st.DataObject, answers: bool) -> None:
        self._pod(data, list(self.it.pods.values())).answers = answers

    @precondition(lambda self: self.it.pods)
    @rule(data=st.data(), running=st.booleans())
    def crash_or_start(self, data: st.DataObject, running: bool) -> None:
        pod = self._pod(data, list(self.it.pods.values()))
        if not running:
            pod.sessions.clear()
            pod.ready = False
        pod.running = running
        self.it.controllers()

    @precondition(lambda self: any(self.it.takers()))
    @rule(data=st.data())
    def a_session_begins(self, data: st.DataObject) -> None:
        self.it.begin(self._pod(data, list(self.it.takers())))

    @rule()
    def sessions_begin_wherever_they_may(self) -> None:
        for pod in self.it.takers():
            self.it.begin(pod)

    @rule(capacity=st.sampled_from([8, 16, 32]), answers=st.booleans())
    def roll_out_over_live_sessions(self, capacity: int, answers: bool) -> None:
        """What a person does most, in one go: random steps seldom get this far."""
        self.sessions_begin_wherever_they_may()
        for pod in self.it.pods.values():
            pod.answers = answers
        self.it.change(gateway={"capacity": capacity, "replicas": 1}, pools=[ENGLISH | {"slots": capacity}])
        for _ in range(3):
            self._step()
            self.it.all_ready()
            self.it.pass_time(1)

    @precondition(lambda self: any(pod.sessions for pod in self.it.pods.values()))
    @rule(data=st.data())
    def sessions_end(self, data: st.DataObject) -> None:
        self.it.end(self._pod(data, [pod for pod in self.it.pods.values() if pod.sessions]))

    @precondition(lambda self: self.it.of(Component.LICENSE))
    @rule(data=st.data(), backlog=st.none() | st.sampled_from([UsageBacklog(), UsageBacklog(records=3)]))
    def usage_comes_and_goes(self, data: st.DataObject, backlog: UsageBacklog | None) -> None:
        self._pod(data, self.it.of(Component.LICENSE)).backlog = backlog

    @rule(seconds=st.sampled_from([1, 5, 20, 120, 300, LIMIT_SECONDS + MARGIN_SECONDS]))
    def time_passes(self, seconds: int) -> None:
        self.it.pass_time(seconds)

    # ------------------------------------------------------------------------------------------------- operators

    @rule()
    def a_pass(self) -> None:
        self._step()

    @rule()
    def some_passes(self) -> None:
        for _ in range(4):
            self.it.all_ready()
            self._step()
            self.it.pass_time(6)

    @rule()
    def a_pass_whose_operator_dies_before_the_status(self) -> None:
        self._step(dies=True)

    @rule()
    def the_status_is_lost(self) -> None:
        self.it.status = StreamingStackStatus()
        self.deadlines.clear()

    @rule(tag=st.sampled_from(["0.1.0", "0.2.0", "0.3.0"]))
    def the_operator_is_upgraded(self, tag: str) -> None:
        """And makes no revision, if the one before had nothing left to do and nobody asks for one."""
        before = self.it.planned()
        self.it.release = upgraded(RELEASE, tag, renderer=1 if tag == "0.1.0" else 2)
        after = self.it.planned()
        known = {each.revision for each in self.it.status.gateway.revisions}
        new = {each.revision for each in before.status.gateway.revisions} - known
        asked = self.it.annotations.get("streamstack.dev/render") != self.it.status.rendered
        if not new and not asked and known:
            assert {each.revision for each in after.status.gateway.revisions} <= known

    # ------------------------------------------------------------------------------------------------- invariants

    @invariant()
    def no_cut(self) -> None:
        assert self.it.cut == []

    @invariant()
    def billed_once(self) -> None:
        assert self.it.stranded == []

    @invariant()
    def one_revision_at_most_is_active_and_the_service_leads_to_it(self) -> None:
        for part in (self.it.status.gateway, *self.it.status.pools):
            active = [each.revision for each in part.revisions if each.phase is Phase.ACTIVE]
            assert len(active) <= 1
            assert active in ([], [part.active_revision])

    @invariant()
    def what_gateways_use_is_there(self) -> None:
        """Whatever a gateway with sessions was told to send them to has its Service (DESIGN 3, no-cut)."""
        for key, manifest in self.it.objects.items():
            if key.kind == "Deployment" and key.name.startswith("demo-gateway-"):
                env = {
                    each["name"]: each.get("value", "")
                    for each in manifest["spec"]["template"]["spec"]["containers"][0]["env"]
                }
                live = any(pod.sessions for pod in self.it.of(Component.GATEWAY) if pod.owner == key)
                if "GATEWAY_PEERS" in env:
                    assert ObjectKey("v1", "Service", "demo-gateway-peers") in self.it.objects
                if live and "AAI_ASR_ENDPOINT" in env:
                    assert ObjectKey("v1", "Service", "demo-asr-lb") in self.it.objects
                    assert ObjectKey("apps/v1", "Deployment", "demo-asr-lb") in self.it.objects


TestCluster = Cluster.TestCase
TestCluster.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


@settings(max_examples=40, deadline=None)
@given(specs())
def test_every_spec_settles_and_then_nothing_more_is_planned(wanted: StreamingStackSpec) -> None:
    it = Simulated(wanted)
    it.settle(4)
    planned = it.planned()
    assert (planned.scale, planned.delete, planned.events, planned.credential) == ((), (), (), None)
    assert planned.status == it.status
    assert it.condition("Ready") == ("True", "Running")
    assert it.condition("Progressing") == ("False", "Settled")
