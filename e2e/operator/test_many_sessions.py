"""More sessions of one gateway than nginx lets through a connection unless it is told to."""

import asyncio
from pathlib import Path

from e2e.support.installed_operator import Operator
from e2e.support.manifests import pool
from e2e.support.speaker import many_sessions, stream_silence
from e2e.support.stack import deployed

SESSIONS = 200
SPOKEN_SECONDS = 3
"""A turn of the engine LoadTest is 2.08 s."""


async def test_two_hundred_sessions_of_one_gateway_go_through_the_balancer(operator: Operator, tmp_path: Path) -> None:
    changes = {
        "balancer": "Nginx",
        "gateway": {"capacity": 64},
        "pools": [pool(engine="LoadTest", replicas=1, slots=256)],
        "nginx": {"replicas": 1},
    }
    async with deployed(operator, tmp_path, engine="LoadTest", changes=changes) as stack:
        async with many_sessions(stack.endpoint, SESSIONS) as conversations:
            for component in ("gateway", "asr"):
                [pod] = await stack.pods(component)
                assert (await stack.report(pod["metadata"]["name"]))["sessions"] == SESSIONS
            await asyncio.gather(*(stream_silence(one, seconds=SPOKEN_SECONDS) for one in conversations))
            await asyncio.gather(*(one.terminate() for one in conversations))
        assert [one.messages[0]["type"] for one in conversations] == ["Begin"] * SESSIONS
        assert all(one.finals for one in conversations)
