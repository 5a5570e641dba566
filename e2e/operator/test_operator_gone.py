"""What a stack owes its operator while it serves: nothing (DESIGN 3, plane-split)."""

import asyncio
from typing import Any

import pytest
from e2e.support.installed_operator import Operator
from e2e.support.speaker import speaking
from e2e.support.stack import Stack

from devcluster.errors import DevError


async def generations(stack: Stack) -> dict[str, Any]:
    """How often each workload's spec has been written: an unchanged number is an untouched template."""
    return {
        one["metadata"]["name"]: one["metadata"]["generation"]
        for one in await stack.objects("deployments,statefulsets")
    }


async def test_plane_split_a_session_lives_and_another_starts_and_ends_while_there_is_no_operator(
    operator: Operator, stack: Stack
) -> None:
    before = await generations(stack)
    async with speaking(stack.endpoint) as speaker:
        gone = operator.stopped()
        await asyncio.to_thread(gone.__enter__)
        try:
            async with speaking(stack.endpoint) as second:
                await second.finish()
            busy = (await stack.pods("gateway"))[0]["metadata"]["name"]
            with pytest.raises(DevError, match="violate the pod's disruption budget"):
                await stack.evict(busy)
            await speaker.hears()
        finally:
            await asyncio.to_thread(gone.__exit__, None, None, None)
        await stack.ready()
        await speaker.finish()
    assert await generations(stack) == before


async def test_plane_split_an_operator_killed_in_mid_session_comes_back_and_touches_nothing(
    operator: Operator, stack: Stack
) -> None:
    before = await generations(stack)
    async with speaking(stack.endpoint) as speaker:
        killed = await asyncio.to_thread(operator.kill)
        await speaker.hears()
        await asyncio.to_thread(operator.available)
        assert (await asyncio.to_thread(operator.pod))["metadata"]["name"] != killed
        await stack.ready()
        await speaker.finish()
    assert await generations(stack) == before


async def test_no_cut_helm_upgrade_and_rollback_of_the_operator_make_no_revision(
    operator: Operator, stack: Stack
) -> None:
    before = await generations(stack)
    async with speaking(stack.endpoint) as speaker:
        for step in (lambda: operator.upgrade(logging__level="Debug"), operator.rollback):
            old = (await asyncio.to_thread(operator.pod))["metadata"]["name"]
            await asyncio.to_thread(step)
            assert (await asyncio.to_thread(operator.pod))["metadata"]["name"] != old
            await speaker.hears()
            await stack.ready()
        await speaker.finish()
    assert await generations(stack) == before
