"""A changed spec on a stack that has live sessions: new revisions, the way back, more and fewer pods."""

from pathlib import Path

from e2e.support.clients import sdk_session
from e2e.support.recordings import scripted as recording
from e2e.support.speaker import ENGLISH, SENTENCES, speaking
from e2e.support.stack import Stack, eventually

COMPONENTS = ("gateway", "asr")


async def revisions(stack: Stack) -> dict[str, str]:
    """Revision that new sessions go to, of gateways and of the pool."""
    return {component: await stack.revision(component) for component in COMPONENTS}


async def flipped(stack: Stack, component: str, *, away_from: str) -> None:
    """Wait until new sessions go to another revision."""

    async def is_another() -> bool:
        return await stack.revision(component) != away_from

    await eventually(is_another)


async def only(stack: Stack, component: str, revision: str) -> None:
    """Wait until the Deployments of all other revisions are gone."""

    async def is_alone() -> bool:
        return list(await stack.deployments(component)) == [revision]

    await eventually(is_alone)


async def sessions_of(stack: Stack, component: str) -> dict[str, int]:
    """Live sessions by revision, as the pods themselves tell."""
    found: dict[str, int] = {}
    for pod in await stack.pods(component):
        report = await stack.report(pod["metadata"]["name"])
        found[report["revision"]] = found.get(report["revision"], 0) + report["sessions"]
    return found


async def test_no_cut_an_update_leaves_a_live_session_where_it_is_and_sends_new_ones_to_the_new_revisions(
    stack: Stack, tmp_path: Path
) -> None:
    before = await revisions(stack)
    spoken = SENTENCES * 4
    async with sdk_session(stack.endpoint, recording(tmp_path, *spoken), speech_model=ENGLISH) as session:
        await session.until(lambda it: it.finals)
        await stack.change({"gateway": {"capacity": 16}, "pools": await pools(stack, slots=6)})
        for component in COMPONENTS:
            await flipped(stack, component, away_from=before[component])
        after = await revisions(stack)
        async with speaking(stack.endpoint) as second:
            assert not session.over
            assert await sessions_of(stack, "gateway") == {before["gateway"]: 1, after["gateway"]: 1}
            assert (await stack.condition("Draining"))["reason"] == "RevisionsDraining"
            await second.finish()
        await session.finished()
    assert session.finals == list(spoken)
    for component in COMPONENTS:
        await only(stack, component, after[component])


async def pools(stack: Stack, **changes: object) -> list[dict[str, object]]:
    """The stack's pools as they are, each with these changes: a merge patch replaces a list as a whole."""
    spec = (await stack.object(stack.what))["spec"]
    return [pool | changes for pool in spec["pools"]]


async def test_a_spec_that_is_changed_back_leads_to_the_revision_it_had(stack: Stack) -> None:
    first = await stack.revision("gateway")
    capacity = (await stack.object(stack.what))["spec"]["gateway"]["capacity"]
    await stack.change({"gateway": {"capacity": capacity + 1}})
    await flipped(stack, "gateway", away_from=first)
    second = await stack.revision("gateway")
    await stack.change({"gateway": {"capacity": capacity}})
    await flipped(stack, "gateway", away_from=second)
    assert await stack.revision("gateway") == first
    await only(stack, "gateway", first)


async def test_no_cut_more_pods_and_fewer_pods_leave_a_live_session_alone_and_make_no_revision(stack: Stack) -> None:
    await stack.ready()
    before = await revisions(stack)

    async def run(gateways: int, servers: int) -> bool:
        return [len(await stack.pods(component)) for component in COMPONENTS] == [gateways, servers]

    async with speaking(stack.endpoint) as speaker:
        for gateways, servers in ((2, 3), (1, 2)):
            await stack.change({"gateway": {"replicas": gateways}, "pools": await pools(stack, replicas=servers)})
            await eventually(lambda g=gateways, s=servers: run(g, s))  # type: ignore[misc]
            await stack.ready()
            await speaker.hears()
        await speaker.finish()
    assert await revisions(stack) == before
