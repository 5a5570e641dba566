import json
from dataclasses import replace

import pytest

from streamstack_operator.facts import ObjectKey, Release, Scale
from streamstack_operator.model.status import Phase, StreamingStackStatus
from streamstack_operator.names import Component
from support.simulated import Simulated, spec, upgraded
from support.stack_specs import RELEASE

RENDER = "streamstack.dev/render"


def settled(release: Release = RELEASE, **changes: object) -> Simulated:
    it = Simulated(spec(gateway={"replicas": 2}, **changes), release=release)
    it.settle()
    return it


def template(it: Simulated, capacity: int) -> None:
    """Ask for another template of the gateways."""
    it.change(gateway={"replicas": it.spec.gateway.replicas, "capacity": capacity})


def draining(it: Simulated, count: int) -> list[str]:
    """Roll out until so many old revisions drain, each with a session; returns them, oldest first."""
    found = []
    for number in range(count):
        found.append(it.active())
        it.begin(it.gateways(it.active())[0])
        template(it, 8 + number)
        it.settle(3)
    return found


def test_the_first_revision_takes_sessions_at_once_and_gets_its_pods() -> None:
    it = Simulated(spec(gateway={"replicas": 3}))
    planned = it.step()
    assert it.selected() == it.active()
    assert Scale(ObjectKey("apps/v1", "Deployment", f"demo-gateway-{it.active()}"), 3) in planned.scale
    assert len(it.gateways()) == 3


def test_a_service_is_applied_after_the_deployment_that_it_leads_to() -> None:
    kinds = [(manifest["kind"], manifest["metadata"]["name"]) for manifest in Simulated().planned().apply]
    for service, deployment in (("demo-gateway", "demo-gateway-"), ("demo-asr-english", "demo-asr-english-")):
        made = next(at for at, (kind, name) in enumerate(kinds) if kind == "Deployment" and name.startswith(deployment))
        assert kinds.index(("Service", service)) > made


def test_a_changed_template_is_a_new_deployment_that_warms_up_before_the_service_is_flipped() -> None:
    it = settled()
    old = it.active()
    template(it, 8)
    it.step()
    (new,) = it.deployments() - {old}
    assert (it.selected(), it.revision(new).phase) == (old, Phase.WARMING)
    first, second = it.gateways(new)
    first.ready = True
    it.step()
    assert it.selected() == old, "one of two pods is not enough"
    second.ready = True
    it.step()
    assert (it.selected(), it.active()) == (new, new)
    assert (it.revision(new).phase, it.revision(old).phase) == (Phase.ACTIVE, Phase.DRAINING)


def test_other_replicas_are_a_scale_and_no_revision() -> None:
    it = settled()
    old = it.active()
    it.change(gateway={"replicas": 5})
    planned = it.step()
    assert it.deployments() == {old}
    assert [scale.replicas for scale in planned.scale] == [5]


def test_no_cut_a_draining_revision_keeps_its_pods_whatever_the_replicas_are() -> None:
    it = settled()
    (old,) = draining(it, 1)
    it.change(gateway={"replicas": 1, "capacity": 8})
    planned = it.step()
    assert all(old not in scale.key.name for scale in planned.scale)
    assert it.objects[ObjectKey("apps/v1", "Deployment", f"demo-gateway-{old}")]["spec"]["replicas"] == 2


def test_an_operator_upgrade_creates_no_revision() -> None:
    it = settled()
    before = it.deployments(), it.deployments("demo-asr-english-")
    it.release = upgraded(it.release, "0.2.0")
    it.settle()
    it.change(gateway={"replicas": 1})
    it.settle()
    assert (it.deployments(), it.deployments("demo-asr-english-")) == before


def test_an_operator_with_a_newer_renderer_creates_no_revision_until_a_template_changes() -> None:
    it = settled(release=replace(RELEASE, renderer=1))
    before = it.deployments(), it.deployments("demo-asr-english-")
    it.release = upgraded(it.release, "0.2.0", renderer=2)
    it.settle()
    it.change(gateway={"replicas": 1})
    it.settle()
    assert (it.deployments(), it.deployments("demo-asr-english-")) == before
    assert "GATEWAY_PEERS" not in json.dumps(it.objects[gateways_of(it)])
    template(it, 8)
    it.settle()
    assert it.revision(it.active()).rendering.version == 2
    assert "demo-gateway-peers.calls.svc.cluster.local" in json.dumps(it.objects[gateways_of(it)])
    assert it.deployments("demo-asr-english-") == before[1], "pools' own templates did not change"


def gateways_of(it: Simulated) -> ObjectKey:
    return ObjectKey("apps/v1", "Deployment", f"demo-gateway-{it.active()}")


def test_gateways_count_as_peers_those_that_new_sessions_come_to() -> None:
    it = settled()
    old = it.active()
    it.begin(it.gateways()[0])
    assert it.selected("demo-gateway-peers") == old
    template(it, 8)
    it.step()
    assert it.selected("demo-gateway-peers") == it.selected() == old, "one that warms takes none"
    it.settle(3)
    assert it.selected("demo-gateway-peers") == it.selected() == it.active() != old


def test_an_operator_upgrade_while_a_revision_warms_creates_no_third_one() -> None:
    it = settled()
    template(it, 8)
    it.step()
    before = it.deployments()
    it.release = upgraded(it.release, "0.2.0")
    it.step()
    assert it.deployments() == before


def test_an_operator_upgrade_after_which_the_status_is_lost_creates_no_revision() -> None:
    it = settled()
    before = it.deployments()
    it.release = upgraded(it.release, "0.2.0")
    it.status = StreamingStackStatus()
    it.settle()
    assert it.deployments() == before
    assert it.revision(it.active()).rendering.image == "streamstack/gateway:0.1.0"


def test_templates_as_the_new_operator_renders_them_come_on_request_and_the_request_is_obeyed_once() -> None:
    it = settled()
    old = it.active(), it.active("english")
    it.release = upgraded(it.release, "0.2.0")
    it.annotations[RENDER] = "now"
    it.step()
    it.step()
    assert it.status.rendered is None, "the new revisions are not active yet"
    it.settle()
    new = it.active(), it.active("english")
    assert not set(old) & set(new)
    assert it.status.rendered == "now"
    it.release = upgraded(it.release, "0.3.0")
    it.settle()
    assert (it.active(), it.active("english")) == new


def test_a_rollback_inside_the_drain_returns_to_the_revision_that_is_still_there() -> None:
    it = settled()
    (old,) = draining(it, 1)
    new = it.active()
    assert it.revision(old).drain_deadline is not None
    it.change(gateway={"replicas": 2})
    it.step()
    assert it.selected() == old
    assert (it.revision(old).phase, it.revision(old).drain_deadline) == (Phase.ACTIVE, None)
    assert it.revision(new).phase is Phase.DRAINING


def test_a_rollback_warms_the_old_revision_to_the_pods_wanted_now_before_it_takes_sessions() -> None:
    it = settled()
    (old,) = draining(it, 1)
    deadline = it.revision(old).drain_deadline
    it.change(gateway={"replicas": 3})
    it.step()
    assert it.selected() != old
    assert (it.revision(old).phase, it.revision(old).drain_deadline) == (Phase.WARMING, deadline)
    assert len(it.gateways(old)) == 3
    it.settle(2)
    assert it.selected() == old


def test_a_revision_that_was_replaced_before_it_took_sessions_is_deleted_at_once() -> None:
    it = settled()
    old = it.active()
    template(it, 8)
    it.step()
    (second,) = it.deployments() - {old}
    template(it, 9)
    it.step()
    assert second not in it.deployments()
    assert it.selected() == old


def test_unknown_is_busy_a_replaced_revision_whose_ready_pod_cannot_be_asked_drains_instead() -> None:
    it = settled()
    old = it.active()
    template(it, 8)
    it.step()
    (second,) = it.deployments() - {old}
    pod = it.gateways(second)[0]
    pod.ready, pod.answers = True, False
    template(it, 9)
    it.step()
    assert second in it.deployments()
    assert it.revision(second).phase is Phase.DRAINING


def test_only_so_many_revisions_drain_at_once_and_the_next_one_waits_and_says_for_what() -> None:
    it = settled(drain={"maxDrainingRevisions": 2})
    old = draining(it, 2)
    active = it.active()
    template(it, 20)
    it.settle()
    assert (it.selected(), it.deployments()) == (active, {*old, active})
    assert it.condition("Progressing") == ("False", "PreviousRevisionsDraining")
    first = it.revision(old[0])
    assert first.drain_deadline is not None
    assert first.drain_deadline in it.message("Progressing")
    assert "maxDrainingRevisions" in it.message("Progressing")
    it.end(it.gateways(old[0])[0])
    for _ in range(4):
        it.step()
        it.pass_time(6)
    it.settle()
    assert it.selected() != active


def test_a_rollback_is_possible_while_as_many_drain_as_may() -> None:
    it = settled(drain={"maxDrainingRevisions": 2})
    _, second = draining(it, 2)
    template(it, 8)
    it.settle(2)
    assert it.selected() == second


def test_an_active_revision_that_serves_nobody_is_replaced_without_waiting() -> None:
    """A mistyped image is put right while the mistake still cannot start: there is nothing to be kept for."""
    it = Simulated(spec(images={"gateway": "mistyped"}))
    for _ in range(3):
        it.step()
        for pod in it.gateways():
            pod.running = False
    wrong = it.active()
    it.change(images={"gateway": "right"})
    it.step()
    assert it.selected() != wrong
    for _ in range(4):
        it.pass_time(6)
        it.step()
    assert wrong not in it.deployments()


def test_unknown_is_busy_an_active_revision_that_cannot_be_asked_is_not_taken_for_lost() -> None:
    it = settled()
    old = it.active()
    for pod in it.gateways():
        pod.ready, pod.answers = False, False
    it.controllers()
    template(it, 8)
    it.step()
    assert it.selected() == old


def test_pods_that_only_the_deployment_knows_of_keep_the_active_revision() -> None:
    """A cache of pods that lags behind shows none; the Deployment's own count says otherwise."""
    it = settled()
    old = it.active()
    it.pods = {}
    template(it, 8)
    assert it.planned().status.gateway.active_revision == old


def test_no_cut_an_operator_that_dies_after_the_flip_finds_the_truth_in_the_service() -> None:
    it = settled()
    old = it.active()
    template(it, 8)
    it.step()
    it.all_ready()
    it.step(dies=True)
    new = it.selected()
    assert (it.active(), new == old) == (old, False)
    it.begin(it.gateways(new)[0])
    template(it, 9)
    it.step()
    assert (it.active(), it.revision(old).phase) == (new, Phase.DRAINING)
    assert it.cut == []


def test_a_service_led_elsewhere_by_hand_is_led_back_and_what_came_there_drains_from_then_on() -> None:
    it = settled()
    (old,) = draining(it, 1)
    active, before = it.active(), it.revision(old).drain_deadline
    it.pass_time(1000)
    it.begin(it.gateways(old)[0])
    it.objects[ObjectKey("v1", "Service", "demo-gateway")]["spec"]["selector"]["streamstack.dev/revision"] = old
    it.gateways(active)[0].ready = False
    it.step()
    assert it.selected() == active
    assert it.revision(old).drain_deadline != before


def test_a_lost_status_leaves_the_active_revision_and_gives_the_others_a_whole_drain() -> None:
    it = settled()
    (old,) = draining(it, 1)
    active = it.active()
    it.status = StreamingStackStatus()
    it.step()
    assert (it.active(), it.selected()) == (active, active)
    assert it.revision(old).phase is Phase.DRAINING
    assert it.revision(old).drain_started_at == it.now.strftime("%Y-%m-%dT%H:%M:%SZ")


def test_a_status_of_a_newer_operator_is_understood_as_far_as_this_one_can() -> None:
    it = settled()
    old = it.active()
    newer = it.revision(old).rendering.model_copy(update={"version": 99})
    revision = it.revision(old).model_copy(update={"rendering": newer})
    it.status = it.status.model_copy(update={"gateway": it.part().model_copy(update={"revisions": [revision]})})
    template(it, 8)
    planned = it.step()
    assert it.selected() == old
    assert planned.delete == ()
    assert len(it.deployments()) == 2


def test_a_pool_is_rolled_out_like_the_gateways_and_leaves_them_alone() -> None:
    it = settled()
    gateways, old = it.deployments(), it.active("english")
    it.change(pools=[{"name": "english", "engine": "Sphinx", "slots": 7}])
    it.settle(3)
    assert it.selected("demo-asr-english") == it.active("english") != old
    assert it.deployments() == gateways


@pytest.mark.parametrize("component", [Component.GATEWAY, Component.ASR])
def test_a_deployment_deleted_by_hand_comes_back_as_the_same_revision(component: Component) -> None:
    it = settled()
    name = next(
        key
        for key in it.objects
        if key.kind == "Deployment" and key.name.startswith("demo-gateway-" if component == "gateway" else "demo-asr-")
    )
    del it.objects[name]
    it.controllers()
    it.step()
    assert name in it.objects


def test_a_settled_stack_plans_nothing_more() -> None:
    it = settled(balancer="Nginx", ingress={"host": "speech.example"})
    it.settle(10)
    first, again = it.planned(), it.planned()
    assert (first.scale, first.delete, first.events, first.credential) == ((), (), (), None)
    assert first == again
    assert first.status == it.status
    assert first.again_seconds == 30
