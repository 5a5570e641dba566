"""The pods that the operator makes, and what may be done to them."""

import json

import pytest
from e2e.support.manifests import STACK
from e2e.support.neighbour import WRITE
from e2e.support.stack import REVISION, Stack, eventually, name_of

from devcluster.errors import DevError

RESOLVE = """
import json, socket, sys
print(json.dumps(sorted({answer[4][0] for answer in socket.getaddrinfo(sys.argv[1], None)})))
"""


async def test_every_pod_says_which_revision_it_belongs_to(stack: Stack) -> None:
    for component, count in {"gateway": 1, "asr": 2}.items():
        revision = await stack.revision(component)
        pods = await stack.pods(component)
        assert len(pods) == count
        for pod in pods:
            assert (await stack.report(name_of(pod)))["revision"] == revision
            assert pod["metadata"]["labels"][REVISION] == revision


async def test_a_pod_taken_out_of_traffic_leaves_the_service_and_stays_the_deployments(stack: Stack) -> None:
    """What retiring a pod rests on (DESIGN 4, "Templates")."""
    first, second = (name_of(pod) for pod in await stack.pods("asr"))

    async def behind() -> set[str]:
        selector = f"--selector=kubernetes.io/service-name={STACK}-asr-english"
        slices = await stack.objects("endpointslices", selector)
        return {end["targetRef"]["name"] for one in slices for end in one["endpoints"] if end["conditions"]["ready"]}

    async def only_second() -> bool:
        return await behind() == {second}

    async def both() -> bool:
        return await behind() == {first, second}

    await stack.kubectl("label", "pod", first, "traffic=off", "--overwrite")
    await eventually(only_second)
    assert {name_of(pod) for pod in await stack.pods("asr")} == {first, second}
    await stack.kubectl("label", "pod", first, "traffic=on", "--overwrite")
    await eventually(both)


async def test_a_gateway_finds_those_it_shares_the_license_with_by_the_name_it_is_told(stack: Stack) -> None:
    gateways = await stack.pods("gateway")
    (container,) = gateways[0]["spec"]["containers"]
    (peers,) = (each["value"] for each in container["env"] if each["name"] == "GATEWAY_PEERS")
    found = await stack.python(name_of(gateways[0]), RESOLVE, peers)
    assert json.loads(found) == sorted(pod["status"]["podIP"] for pod in gateways)


async def test_the_journals_claim_can_be_written_by_the_license_proxy_and_its_image_cannot(stack: Stack) -> None:
    pod = f"{STACK}-license-proxy-0"
    assert await stack.python(pod, WRITE, "/var/lib/streamstack/new") == "10001 written"
    assert await stack.python(pod, WRITE, "/app/new") == "10001 Read-only file system"
    claims = await stack.objects("persistentvolumeclaims")
    assert [(name_of(claim), claim["status"]["phase"]) for claim in claims] == [(f"journal-{pod}", "Bound")]


async def test_no_cut_a_gateway_is_not_evicted(stack: Stack) -> None:
    pod = name_of((await stack.pods("gateway"))[0])
    with pytest.raises(DevError, match="violate the pod's disruption budget"):
        await stack.evict(pod)
    assert [name_of(pod) for pod in await stack.pods("gateway")] == [pod]
