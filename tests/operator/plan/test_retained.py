"""What the spec dropped: kept for as long as gateways use it, then deleted; nothing that holds sessions or state."""

from streamstack_common.sessions_report import PoolSessions
from streamstack_operator.facts import ObjectKey
from streamstack_operator.names import Component
from streamstack_operator.plan.retained import mentions
from support.simulated import Simulated, spec

ENGLISH = {"name": "english", "engine": "Sphinx"}
PRO = {"name": "pro", "engine": "Sphinx"}
PRO_SERVICE = ObjectKey("v1", "Service", "demo-asr-pro")
BALANCER = {ObjectKey(*of, "demo-asr-lb") for of in (("apps/v1", "Deployment"), ("v1", "Service"), ("v1", "ConfigMap"))}


def stack(**changes: object) -> Simulated:
    it = Simulated(spec(gateway={"replicas": 1}, pools=[ENGLISH, PRO], **changes))
    it.settle()
    return it


def passes(it: Simulated, count: int = 4) -> None:
    for _ in range(count):
        it.step()
        it.all_ready()
        it.pass_time(6)


def test_a_pool_that_the_spec_dropped_goes_with_all_its_children_when_nobody_uses_it() -> None:
    it = stack()
    it.change(pools=[ENGLISH])
    passes(it, 6)
    assert not [key for key in it.objects if key.name.startswith("demo-asr-pro")]
    assert [pool.name for pool in it.status.pools] == ["english"]


def test_no_cut_a_dropped_pool_takes_sessions_until_the_gateways_that_know_it_take_none() -> None:
    it = stack()
    revision = it.active("pro")
    it.change(pools=[ENGLISH])
    it.step()
    assert (it.active("pro"), it.part("pro").revisions[0].phase) == (revision, "Active")
    for pod in it.gateways():
        pod.ready = pod.ready and pod.revision == it.active()
    it.pass_time(600)
    it.step()
    assert it.deployments("demo-asr-pro-") == {revision}
    it.all_ready()
    it.step()
    gateway = it.part().revisions[1]
    (pool,) = it.part("pro").revisions
    assert (pool.phase, pool.drain_deadline) == ("Draining", gateway.drain_deadline)
    assert PRO_SERVICE in it.objects


def test_no_cut_a_dropped_pool_waits_for_sessions_that_have_no_slot_of_it_yet() -> None:
    it = stack()
    old = it.gateways()[0]
    it.begin(old)
    old.pools["pro"] = PoolSessions(in_use=0, waiting=1, refused_total=0)
    it.change(pools=[ENGLISH])
    passes(it, 8)
    assert PRO_SERVICE in it.objects
    assert it.deployments("demo-asr-pro-")
    old.pools.clear()
    passes(it)
    assert not it.deployments("demo-asr-pro-")


def test_unknown_is_busy_a_dropped_pool_stays_while_a_gateway_cannot_be_asked() -> None:
    it = stack()
    it.gateways()[0].answers = False
    it.change(pools=[ENGLISH])
    passes(it, 8)
    assert it.deployments("demo-asr-pro-")


def test_no_cut_a_pool_dropped_right_after_a_flip_that_no_status_tells_of_drains() -> None:
    it = Simulated(spec(gateway={"replicas": 1}, pools=[ENGLISH, PRO], balancer="Nginx"))
    it.settle()
    it.change(pools=[ENGLISH, PRO | {"slots": 7}])
    it.step()
    it.all_ready()
    it.step(dies=True)
    new = it.selected("demo-asr-pro")
    pod = it.of(Component.ASR, pool="pro", revision=new)[0]
    it.begin(pod)
    pod.ready = False
    it.change(pools=[ENGLISH])
    it.step()
    assert (it.cut, it.revision(new, "pro").phase) == ([], "Draining")


def test_a_dropped_pool_that_is_asked_for_again_is_the_revision_it_was() -> None:
    it = stack()
    revision = it.active("pro")
    it.begin(it.of(Component.ASR, pool="pro")[0])
    it.change(pools=[ENGLISH])
    passes(it)
    it.change(pools=[ENGLISH, PRO])
    passes(it)
    assert it.active("pro") == revision
    assert it.cut == []


def test_no_cut_the_balancer_stays_while_gateways_send_sessions_through_it() -> None:
    it = stack(balancer="Nginx")
    old = it.gateways()[0]
    it.begin(old)
    it.change(balancer="Gateway")
    passes(it)
    assert it.active() != old.revision
    assert set(it.objects) >= BALANCER
    it.end(old)
    passes(it, 6)
    assert not BALANCER & set(it.objects)


def test_no_cut_the_balancer_outlives_a_deployment_whose_pods_still_finish() -> None:
    it = stack(balancer="Nginx")
    old = it.gateways()[0]
    it.begin(old)
    it.change(balancer="Gateway")
    passes(it)
    del it.objects[old.owner]
    it.controllers()
    passes(it)
    assert set(it.objects) >= BALANCER


def test_a_service_is_found_in_a_template_as_a_whole_name_only() -> None:
    def using(host: str) -> dict[str, object]:
        return {"spec": {"template": {"spec": {"containers": [{"env": [{"name": "ASR_POOLS", "value": host}]}]}}}}

    assert mentions(using("pro/u3-pro=demo-asr-pro.calls.svc.cluster.local:50051"), "demo-asr-pro")
    assert not mentions(using("pro/u3-pro=demo-asr-pro-2.calls.svc.cluster.local:50051"), "demo-asr-pro")
    assert not mentions(using("pro/u3-pro=a-demo-asr-pro.calls.svc.cluster.local:50051"), "demo-asr-pro")


def test_an_ingress_and_policies_that_the_spec_dropped_are_deleted() -> None:
    it = stack(ingress={"host": "speech.example"})
    assert ObjectKey("networking.k8s.io/v1", "Ingress", "demo") in it.objects
    it.change(ingress=None, networkPolicies={"enabled": False})
    planned = it.step()
    assert {key.kind for key in planned.delete} == {"Ingress", "NetworkPolicy"}


def test_what_holds_sessions_or_state_is_never_swept_away() -> None:
    it = stack()
    owned = {"labels": {"app.kubernetes.io/instance": "demo"}}
    for api, kind in (("v1", "Secret"), ("v1", "Pod"), ("v1", "PersistentVolumeClaim"), ("apps/v1", "StatefulSet")):
        it.objects[ObjectKey(api, kind, "demo-further")] = {
            "apiVersion": api,
            "kind": kind,
            "metadata": {"name": "demo-further", **owned},
            "spec": {"replicas": 0, "selector": {"matchLabels": {}}},
        }
    assert it.planned().delete == ()
