"""Stacks beside each other, in one namespace and in another, and what is left of one that is deleted."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass

import pytest
import pytest_asyncio
from e2e.support.installed_operator import Operator
from e2e.support.manifests import pool
from e2e.support.speaker import speaking
from e2e.support.stack import Stack, children, eventually, left, make, own_namespace


@dataclass(frozen=True, slots=True)
class SideBySide:
    """Three stacks: ``neighbour`` shares the namespace of ``first``, ``namesake`` its name."""

    first: Stack
    neighbour: Stack
    namesake: Stack

    @property
    def all(self) -> tuple[Stack, Stack, Stack]:
        return self.first, self.neighbour, self.namesake


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stacks(operator: Operator, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[SideBySide]:
    """Yield three stacks with a server each; the namesake's sessions are to finish when it is deleted."""
    small = {"pools": [pool(replicas=1)]}
    patient = {**small, "drain": {"onDelete": True}}
    async with AsyncExitStack() as namespaces:
        one, other = [await namespaces.enter_async_context(own_namespace(operator)) for _ in range(2)]
        yield SideBySide(
            *await asyncio.gather(
                make(operator, tmp_path_factory.mktemp("first"), namespace=one, changes=small),
                make(operator, tmp_path_factory.mktemp("neighbour"), namespace=one, name="neighbour", changes=small),
                make(operator, tmp_path_factory.mktemp("namesake"), namespace=other, changes=patient),
            )
        )


async def sessions(stack: Stack) -> list[int]:
    """Live sessions of the stack's gateways and servers, a pod each."""
    pods = [*await stack.pods("gateway"), *await stack.pods("asr")]
    return [(await stack.report(pod["metadata"]["name"]))["sessions"] for pod in pods]


async def test_sessions_of_stacks_side_by_side_stay_in_their_own_stacks(stacks: SideBySide) -> None:
    async with AsyncExitStack() as speakers:
        speaking_now = [await speakers.enter_async_context(speaking(stack.endpoint)) for stack in stacks.all]
        for stack in stacks.all:
            assert await sessions(stack) == [1, 1]
        await asyncio.gather(*(speaker.finish() for speaker in speaking_now))


async def test_a_deleted_stack_leaves_the_journals_claims_and_nothing_else_and_its_neighbour_alone(
    stacks: SideBySide,
) -> None:
    claim = f"persistentvolumeclaim/journal-{stacks.neighbour.name}-license-proxy-0"
    others = await children(stacks.first)
    async with speaking(stacks.first.endpoint) as speaker:
        await stacks.neighbour.kubectl("delete", stacks.neighbour.what, "--wait=false")
        await left(stacks.neighbour, {claim})
        await speaker.hears()
        await speaker.finish()
    assert await children(stacks.first) == others
    await stacks.first.ready()


async def test_no_cut_a_stack_that_drains_on_delete_goes_when_its_last_session_is_over(stacks: SideBySide) -> None:
    stack = stacks.namesake
    claim = f"persistentvolumeclaim/journal-{stack.name}-license-proxy-0"

    async def drains() -> bool:
        return (await stack.condition("Draining")).get("reason") == "StackDraining"

    async with speaking(stack.endpoint) as speaker:
        await stack.kubectl("delete", stack.what, "--wait=false")
        await eventually(drains, seconds=30)
        await speaker.hears(3)
        assert (await stack.status())["gateway"]["sessions"] == 1
        await speaker.finish()
    await left(stack, {claim})
