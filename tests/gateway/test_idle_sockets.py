"""Ten thousand sockets that say nothing, held by another process, beside a session that goes on."""

import asyncio
import sys
from functools import partial
from pathlib import Path

from support.asr_process import asr_process
from support.conversation import Conversation
from support.gateway_process import GatewayProcess, gateway_process
from support.license_process import license_process
from support.scripted_audio import script
from support.service import write_credential
from support.waiting import eventually

SOCKETS = 10_000
HOLDER = """
import resource, socket, sys
host, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, count + 100), hard))
sockets = [socket.create_connection((host, port)) for _ in range(count)]
print(len(sockets), flush=True)
sys.stdin.read()
"""


async def holds(gateway: GatewayProcess, connections: float) -> bool:
    status, metrics = await gateway.internal("/metrics")
    assert status == 200
    held = next(line for line in metrics.splitlines() if line.startswith("streamstack_gateway_connections "))
    return float(held.split()[1]) > connections


async def test_ten_thousand_idle_sockets_do_not_touch_a_session(tmp_path: Path) -> None:
    credential = write_credential(tmp_path)
    async with (
        asr_process(tmp_path, credential_file=credential) as asr,
        license_process(tmp_path) as proxy,
        gateway_process(tmp_path, asr_pools=f"english/en-default={asr.asr}", license_proxy=proxy) as gateway,
    ):
        await gateway.announced()
        host, port = gateway.endpoint.removeprefix("ws://").split(":")
        async with gateway.client() as client:
            conversation = Conversation(client)
            first = script("before the flood", tail_ms=1600)
            await conversation.speak(first.pcm)
            await conversation.until(lambda it: it.finals)
            holder = await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", HOLDER, host, port, str(SOCKETS)),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
            )
            assert holder.stdout is not None
            assert int(await holder.stdout.readline()) == SOCKETS
            # The kernel completes a connect before the gateway accepts it: the last of them are still to come.
            await eventually(partial(holds, gateway, SOCKETS * 0.9))
            await conversation.speak(script("and in the middle of it", first_block=first.next_block).pcm)
            await conversation.terminate()
            assert conversation.finals == ["before the flood", "and in the middle of it"]
            async with gateway.client() as late:
                second = Conversation(late)
                await second.speak(script("room for one more").pcm)
                await second.terminate()
            assert second.text == "room for one more"
            holder.kill()
            await holder.wait()
