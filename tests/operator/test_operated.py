"""The operator at work: its process, a real API server and its controllers, pods that are stood in for."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from support.namespaces import Namespace
from support.operated import Object, Operated, operated, stack

pytestmark = pytest.mark.usefixtures("stack_crd")

DEPLOYMENTS = ("apps/v1", "Deployment")


@pytest.fixture
async def place(namespace: Namespace, tmp_path: Path) -> AsyncIterator[Operated]:
    async with operated(namespace, tmp_path) as it:
        yield it


def named(kind: str, name: str, api_version: str = "v1") -> Object:
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": name}}


async def names(place: Operated, api_version: str, kind: str) -> set[str]:
    return {each["metadata"]["name"] for each in await place.namespace.list(api_version, kind)}


async def gateway_revisions(place: Operated) -> set[str]:
    labels = "app.kubernetes.io/component=gateway"
    found = await place.namespace.list(*DEPLOYMENTS, labels)
    return {each["metadata"]["labels"]["streamstack.dev/revision"] for each in found}


async def ready(place: Operated, manifest: Object | None = None) -> Object:
    """Apply a stack with its license, and wait until it is ready."""
    wanted = manifest or stack()
    await place.give_license(wanted["spec"]["license"]["secretName"])
    await place.apply(wanted)
    await place.is_ready(wanted)
    return wanted


async def test_ten_lines_become_a_stack_whose_parts_carry_the_names_of_the_design(place: Operated) -> None:
    async with place.operator():
        wanted = await ready(place)
        now = await place.now(wanted)
        revision, pool = await place.active(wanted), await place.active(wanted, "english")
        assert await names(place, *DEPLOYMENTS) == {f"demo-gateway-{revision}", f"demo-asr-english-{pool}"}
        assert await names(place, "apps/v1", "StatefulSet") == {"demo-license-proxy"}
        services = {"demo-gateway", "demo-gateway-peers", "demo-asr-english", "demo-license-proxy"}
        assert services <= await names(place, "v1", "Service")
        assert now["status"]["observedGeneration"] == now["metadata"]["generation"]
        assert now["status"]["license"]["state"] == "Connected"
        assert (now["status"]["gateway"]["ready"], now["status"]["asrReady"]) == ("1/1", "1/1")


async def test_the_stack_itself_carries_no_finalizer_and_no_annotation(place: Operated) -> None:
    async with place.operator():
        metadata = (await place.now(await ready(place)))["metadata"]
    assert "finalizers" not in metadata
    assert "annotations" not in metadata


async def test_a_missing_license_secret_is_said_by_name_and_made_good_by_making_it(place: Operated) -> None:
    place.kubelet.ready = lambda pod: pod.component != "license-proxy"
    wanted = stack()
    async with place.operator():
        await place.apply(wanted)
        said = await place.settles(wanted, "LicenseValid", status="False", reason="LicenseSecretMissing")
        assert "demo-license" in said["message"]
        await place.settles(wanted, "Ready", status="False")
        await place.give_license()
        place.kubelet.ready = lambda _pod: True
        await place.is_ready(wanted)


async def test_children_deleted_or_edited_by_hand_come_back_as_they_were(place: Operated) -> None:
    async with place.operator():
        wanted = await ready(place)
        revision = await place.active(wanted)
        service, deployment = named("Service", "demo-gateway"), f"demo-gateway-{revision}"
        before = await place.namespace.get(service)
        await place.namespace.delete(named("Service", "demo-asr-english"))
        await place.namespace.patch(service, {"spec": {"selector": {"traffic": "elsewhere"}}})
        await place.namespace.patch(
            named("Deployment", deployment, "apps/v1"), {"metadata": {"labels": {"app.kubernetes.io/managed-by": None}}}
        )

        async def restored() -> bool:
            labels = (await place.namespace.get(named("Deployment", deployment, "apps/v1")))["metadata"]["labels"]
            selector = (await place.namespace.get(service))["spec"]["selector"]
            return (
                await place.namespace.exists(named("Service", "demo-asr-english"))
                and selector == before["spec"]["selector"]
                and labels.get("app.kubernetes.io/managed-by") == "streamstack-operator"
            )

        await place.until(restored)


async def test_a_name_that_is_taken_is_left_alone_and_said(place: Operated) -> None:
    theirs = {**named("Service", "demo-gateway"), "spec": {"ports": [{"port": 1}], "selector": {"app": "theirs"}}}
    await place.namespace.create(theirs)
    await place.give_license()
    wanted = stack()
    async with place.operator():
        await place.apply(wanted)

        async def said() -> bool:
            conditions = ((await place.now(wanted)).get("status") or {}).get("conditions") or []
            return any(
                each["reason"] == "NameClash" and "Service demo-gateway" in each["message"] for each in conditions
            )

        await place.until(said)
        assert (await place.namespace.get(theirs))["spec"]["selector"] == {"app": "theirs"}
        await place.namespace.delete(theirs)
        await place.is_ready(wanted)


async def test_no_cut_a_changed_template_makes_a_new_revision_and_the_old_one_stays_until_it_is_empty(
    place: Operated,
) -> None:
    async with place.operator():
        wanted = await ready(place)
        old = await place.active(wanted)
        (busy,) = place.kubelet.of("gateway", revision=old)
        busy.sessions = 1
        await place.apply(stack(gateway={"replicas": 1, "capacity": 16}))

        async def flipped() -> bool:
            selector = (await place.namespace.get(named("Service", "demo-gateway")))["spec"]["selector"]
            return bool(selector["streamstack.dev/revision"] != old) and await place.active(wanted) != old

        await place.until(flipped)
        await place.settles(wanted, "Draining", status="True")
        assert old in await gateway_revisions(place)
        busy.sessions = 0
        await place.gone(named("Deployment", f"demo-gateway-{old}", "apps/v1"))
        await place.settles(wanted, "Draining", status="False")


async def test_unknown_is_busy_an_old_revision_that_cannot_be_asked_stays(place: Operated) -> None:
    async with place.operator():
        wanted = await ready(place)
        old = await place.active(wanted)
        (silent,) = place.kubelet.of("gateway", revision=old)
        silent.answers = False
        await place.apply(stack(gateway={"replicas": 1, "capacity": 16}))

        async def unknown() -> bool:
            revisions = (await place.now(wanted))["status"]["gateway"]["revisions"]
            drained = [each for each in revisions if each["revision"] == old]
            return bool(drained) and drained[0]["phase"] == "Draining" and "sessions" not in drained[0]

        await place.until(unknown)
        # A pass over another change of the same stack: the old revision was looked at, and left.
        await place.apply(stack(gateway={"replicas": 2, "capacity": 16}))

        async def scaled() -> bool:
            return (await place.now(wanted))["status"]["gateway"]["ready"] == "2/2"

        await place.until(scaled)
        assert old in await gateway_revisions(place)
        silent.answers = True
        await place.gone(named("Deployment", f"demo-gateway-{old}", "apps/v1"))


async def test_deadlines_survive_an_operator_that_is_killed(place: Operated) -> None:
    async with place.operator() as first:
        wanted = await ready(place)
        old = await place.active(wanted)
        place.kubelet.of("gateway", revision=old)[0].sessions = 1
        await place.apply(stack(gateway={"replicas": 1, "capacity": 16}))
        await place.settles(wanted, "Draining", status="True")
        before = await _revision(place, wanted, old)
        first.kill()
        await first.wait()
    await place.apply(stack(gateway={"replicas": 2, "capacity": 16}))
    async with place.operator():
        await place.is_ready(wanted)
        after = await _revision(place, wanted, old)
    assert (after["drainDeadline"], after["drainStartedAt"]) == (before["drainDeadline"], before["drainStartedAt"])


async def _revision(place: Operated, wanted: Object, name: str | None) -> dict[str, Any]:
    revisions = (await place.now(wanted))["status"]["gateway"]["revisions"]
    return next(each for each in revisions if each["revision"] == name)


async def test_an_operator_upgrade_creates_no_revision_until_it_is_asked_for(place: Operated) -> None:
    async with place.operator():
        wanted = await ready(place)
        before = await names(place, *DEPLOYMENTS)
    async with place.operator(IMAGE_GATEWAY="registry.invalid/gateway:2", IMAGE_ASR_SPHINX="registry.invalid/asr:2"):
        # Something that the new operator has to do shows that it has looked.
        await place.apply(stack(gateway={"replicas": 2}))

        async def scaled() -> bool:
            return (await place.now(wanted))["status"]["gateway"]["ready"] == "2/2"

        await place.until(scaled)
        assert await names(place, *DEPLOYMENTS) == before
        await place.namespace.patch(wanted, {"metadata": {"annotations": {"streamstack.dev/render": "now"}}})

        async def rendered_anew() -> bool:
            found = await place.namespace.list(*DEPLOYMENTS)
            images = {each["spec"]["template"]["spec"]["containers"][0]["image"] for each in found}
            return images == {"registry.invalid/gateway:2", "registry.invalid/asr:2"}

        await place.until(rendered_anew)
        assert (await place.now(wanted))["status"]["rendered"] == "now"


async def test_fewer_license_proxies_wait_until_the_authority_has_what_their_journals_hold(place: Operated) -> None:
    two, one = ({"secretName": "demo-license", "replicas": count} for count in (2, 1))
    async with place.operator():
        wanted = await ready(place, stack(license=two))
        proxies = named("StatefulSet", "demo-license-proxy", "apps/v1")

        async def both_tell() -> bool:
            return bool((await place.now(wanted))["status"]["license"].get("backlogRecords") == 0)

        await place.until(both_tell)
        _, owing = place.kubelet.of("license-proxy")
        owing.backlog = {"records": 3, "oldest_seconds": 2.0}
        await place.apply(stack(license=one))
        said = await place.settles(wanted, "Progressing", status="True", reason="UsageUnreported")
        assert owing.name in said["message"]
        assert (await place.namespace.get(proxies))["spec"]["replicas"] == 2
        owing.backlog = {"records": 0, "oldest_seconds": None}
        await place.settles(wanted, "Progressing", status="False")
        assert (await place.namespace.get(proxies))["spec"]["replicas"] == 1
        await place.gone(named("Pod", owing.name))


async def test_a_license_and_its_backlog_are_told_as_every_proxy_tells_them(place: Operated) -> None:
    async with place.operator():
        wanted = await ready(place)
        (proxy,) = place.kubelet.of("license-proxy")
        proxy.license = {"state": "TrustBased", "billing": "usage", "customer": "Example Ltd"}
        proxy.backlog = {"records": 5000, "oldest_seconds": 1200.0}
        await place.apply(stack(gateway={"replicas": 2}))  # something to look at
        await place.settles(wanted, "LicenseValid", status="True", reason="TrustBased")
        said = await place.settles(wanted, "UsageBacklog", status="True", reason="BacklogLarge")
        assert "5000 records, the oldest for 20 minutes" in said["message"]
        told = (await place.now(wanted))["status"]["license"]
        assert (told["state"], told["customer"], told["backlogRecords"]) == ("TrustBased", "Example Ltd", 5000)
        await place.is_ready(wanted)
        events = {each["reason"]: each["type"] for each in await place.namespace.list("v1", "Event")}
        assert events["LicenseTrustBased"] == events["BacklogLarge"] == "Warning"


async def test_billed_once_a_stack_deleted_with_drain_waits_for_its_usage(place: Operated) -> None:
    async with place.operator():
        wanted = await ready(place, stack(drain={"onDelete": True}))
        (proxy,) = place.kubelet.of("license-proxy")
        proxy.backlog = {"records": 1, "oldest_seconds": 1.0}
        await place.namespace.delete(wanted)
        said = await place.settles(wanted, "Draining", status="True", reason="UsageUnreported")
        assert "at the latest" in said["message"]
        assert place.kubelet.of("gateway") == []
        proxy.backlog = {"records": 0, "oldest_seconds": None}
        await place.gone(wanted)


async def test_a_paused_stack_is_left_alone(place: Operated) -> None:
    async with place.operator():
        wanted = await ready(place)
        await place.namespace.patch(wanted, {"metadata": {"annotations": {"streamstack.dev/reconcile": "disabled"}}})
        await place.settles(wanted, "Ready", status="False", reason="Paused")
        await place.namespace.delete(named("Service", "demo-gateway"))
        await place.apply(stack(gateway={"replicas": 3}))
        await place.settles(wanted, "Ready", status="False", reason="Paused")
        assert not await place.namespace.exists(named("Service", "demo-gateway"))
        await place.namespace.patch(wanted, {"metadata": {"annotations": {"streamstack.dev/reconcile": None}}})
        await place.is_ready(wanted)
        assert await place.namespace.exists(named("Service", "demo-gateway"))


async def test_two_stacks_in_a_namespace_do_not_touch_each_other(place: Operated) -> None:
    async with place.operator():
        first = await ready(place)
        await ready(place, stack("other"))
        await place.namespace.delete(first)
        await place.gone(named("Service", "demo-gateway"))
        await place.is_ready(stack("other"))
        assert await place.namespace.exists(named("Service", "other-gateway"))


async def test_a_deleted_stack_leaves_nothing_but_its_journals_claims(place: Operated) -> None:
    async with place.operator():
        wanted = await ready(place)
        await place.namespace.delete(wanted)
        await place.gone(wanted)

        async def nothing_left() -> bool:
            kinds = (DEPLOYMENTS, ("apps/v1", "StatefulSet"), ("v1", "ConfigMap"), ("policy/v1", "PodDisruptionBudget"))
            labels = "app.kubernetes.io/managed-by=streamstack-operator"
            left = [each for kind in kinds for each in await place.namespace.list(*kind, labels)]
            return not left and not await place.namespace.exists(named("Secret", "demo-credential"))

        await place.until(nothing_left)


async def test_no_cut_a_stack_deleted_with_drain_waits_for_its_sessions(place: Operated) -> None:
    async with place.operator():
        wanted = await ready(place, stack(drain={"onDelete": True}))
        (busy,) = place.kubelet.of("gateway")
        busy.sessions = 1
        await place.namespace.delete(wanted)
        await place.settles(wanted, "Draining", status="True", reason="StackDraining")
        pool = named("Service", "demo-asr-english")
        assert await place.namespace.exists(pool)
        assert place.kubelet.of("gateway") == [busy]
        busy.sessions = 0
        await place.gone(wanted)
        await place.gone(pool)


async def test_a_credential_is_rotated_on_request_with_both_accepted_in_between(place: Operated) -> None:
    async with place.operator():
        wanted = await ready(place)
        secret = named("Secret", "demo-credential")
        before = (await place.namespace.get(secret))["data"]["credential"]
        await place.namespace.patch(wanted, {"metadata": {"annotations": {"streamstack.dev/rotate-credential": "1"}}})

        async def switching() -> bool:
            state = (await place.namespace.get(secret))["metadata"]["annotations"]["streamstack.dev/credential"]
            return bool(json.loads(state)["stage"] == "Switching")

        await place.until(switching)
        assert (await place.namespace.get(secret))["data"]["credential"] != before
        await place.is_ready(wanted)


async def test_a_pod_that_cannot_run_is_said_with_its_reason(place: Operated) -> None:
    waiting = {"waiting": {"reason": "ErrImageNeverPull", "message": "not present with pull policy of Never"}}
    status = {"name": "gateway", "image": "gone:1", "imageID": "", "ready": False, "restartCount": 0, "state": waiting}
    place.kubelet.problem = lambda pod: status if pod.component == "gateway" else None
    await place.give_license()
    wanted = stack()
    async with place.operator():
        await place.apply(wanted)
        said = await place.settles(wanted, "GatewayAvailable", status="False", reason="ImageUnavailable")
        assert "gone:1" in said["message"]
        place.kubelet.problem = lambda _pod: None
        await place.is_ready(wanted)


async def test_a_volume_that_a_pod_waits_for_is_said_as_its_kubelet_says_it(place: Operated) -> None:
    """A kubelet tells it in Events alone: here a key of the license that its Secret does not have."""
    creating = {"name": "it", "image": "it:1", "imageID": "", "ready": False, "restartCount": 0}
    creating["state"] = {"waiting": {"reason": "ContainerCreating"}}
    place.kubelet.problem = lambda pod: creating if pod.component == "license-proxy" else None
    await place.give_license()
    wanted = stack(license={"secretName": "demo-license", "key": "nothere.jwt"})
    async with place.operator():
        await place.apply(wanted)

        async def is_made() -> bool:
            return bool(place.kubelet.of("license-proxy"))

        await place.until(is_made)
        (pod,) = place.kubelet.of("license-proxy")
        about = {"apiVersion": "v1", "kind": "Pod", "name": pod.name, "namespace": place.namespace.namespace}
        event = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": "mount"},
            "involvedObject": about,
            "type": "Warning",
            "reason": "FailedMount",
            "message": "references non-existent secret key: nothere.jwt",
        }
        await place.namespace.create(event)

        async def said() -> bool:
            told = await place.condition(wanted, "LicenseValid")
            return told.get("status") != "True" and "non-existent secret key: nothere.jwt" in told.get("message", "")

        await place.until(said)
        place.kubelet.problem = lambda _pod: None
        await place.is_ready(wanted)
