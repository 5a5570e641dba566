"""The server as the process a pod runs."""

import asyncio
import os
import sys
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2

from streamstack_common.contracts import asr_pb2
from support.asr_link import link
from support.asr_process import asr_process
from support.scripted_audio import script
from support.service import call, write_credential


async def test_sigterm_asks_sessions_to_move_and_closes_those_that_stay(tmp_path: Path) -> None:
    async with asr_process(tmp_path, stop_grace_seconds=0.5) as server:
        async with link(server.asr, server.metadata) as client:
            await client.open(1)
            await client.wait_reply(1, "opened")
            server.terminate()
            await client.wait_reply(1, "please_move")
            await client.open(2)
            assert (await client.wait_reply(2, "refused")).reason == asr_pb2.Refused.NOT_ACCEPTING
            async with grpc.aio.insecure_channel(server.asr) as channel:
                check = channel.unary_unary("/grpc.health.v1.Health/Check")
                answer = health_pb2.HealthCheckResponse.FromString(await check(b""))
                assert answer.status == health_pb2.HealthCheckResponse.NOT_SERVING
            closed = await client.wait_reply(1, "closed")
            assert closed.reason == asr_pb2.Closed.STOPPING
            await client.wait_for(lambda: client.ended)
            assert client.ended is grpc.StatusCode.OK
        assert await server.wait() == 0
    assert "1 sessions did not leave within 0.5 s" in server.log


async def test_a_server_whose_sessions_have_left_stops_without_waiting_for_its_grace(tmp_path: Path) -> None:
    made = script("until the end")
    async with asr_process(tmp_path, stop_grace_seconds=3600) as server, link(server.asr, server.metadata) as client:
        await client.open(1)
        await client.wait_reply(1, "opened")
        server.terminate()
        await client.wait_reply(1, "please_move")
        await client.stream(1, made.pcm)
        await client.end_turn(1, 0, made.samples)
        await client.wait_reply(1, "turn_ended")
        assert client.text(1) == "until the end"
        await client.close_session(1)
        assert await server.wait() == 0


async def test_the_log_says_when_the_server_is_ready(tmp_path: Path) -> None:
    async with asr_process(tmp_path, engine="null") as server:
        pass
    assert "Ready to serve!" in server.log
    assert server.token not in server.log
    async with asr_process(tmp_path, engine="null", models="universal-3-5-pro,u3-pro") as server:
        pass
    assert "U3Pro ASR Server ready!" in server.log


async def test_what_a_server_announces_can_be_called_although_it_listens_everywhere(tmp_path: Path) -> None:
    async with asr_process(tmp_path, engine="null", flags=("--host", "0.0.0.0")) as server:
        assert server.asr.startswith("127.0.0.1:")
        async with link(server.asr, server.metadata) as client:
            await client.open(1)
            await client.wait_reply(1, "opened")
        status, report = await call(f"{server.internal}/sessions", token=server.token)
        assert (status, report["capacity"]) == (200, 32)


async def test_a_killed_server_ends_its_links_at_once(tmp_path: Path) -> None:
    async with asr_process(tmp_path) as server, link(server.asr, server.metadata) as client:
        await client.open(1)
        await client.wait_reply(1, "opened")
        server.kill()
        await client.wait_for(lambda: client.ended)
        assert client.ended is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize(
    ("flags", "code", "said"),
    [
        (("--engine", "whisper"), 1, "unknown engine 'whisper'"),
        (("--engine", "null", "--max-open-streams", "0"), 2, "--max-open-streams / MAX_OPEN_STREAMS"),
        (("--engine", "null", "--models", "a,,b"), 2, "--models / MODELS"),
        (("--engine", "null", "--credential-file", "nowhere"), 2, "credential file nowhere"),
        (("--engine", "null", "--host", "192.0.2.1"), 1, "192.0.2.1:0"),
        (("--engine", "null", "--server-tls-cert-file", "a.crt"), 2, "SERVER_TLS_CERT_FILE and SERVER_TLS_KEY_FILE go"),
        (
            ("--engine", "null", "--server-tls-cert-file", "a.crt", "--server-tls-key-file", "a.key"),
            2,
            "certificate a.crt with key a.key: [Errno 2] No such file",
        ),
    ],
)
async def test_a_server_that_cannot_serve_says_why(
    tmp_path: Path, flags: tuple[str, ...], code: int, said: str
) -> None:
    credential = write_credential(tmp_path)
    common = ("--host", "127.0.0.1", "--server-port", "0", "--internal-port", "0", "--credential-file", str(credential))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "streamstack_asr", *common, *flags),
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "GRPC_VERBOSITY": "NONE"},
    )
    _, stderr = await process.communicate()
    assert said in stderr.decode()
    assert process.returncode == code
    assert "Traceback" not in stderr.decode()


async def test_settings_come_from_the_environment_names_of_the_seeds(tmp_path: Path) -> None:
    environment = {"MAX_OPEN_STREAMS": "7", "LOGGING_LEVEL": "INFO", "USE_STRUCTURED_LOGGING": "True"}
    credential = write_credential(tmp_path)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", "import streamstack_asr.settings as s; print(s.AsrSettings())"),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, **environment, "SERVER_PORT": "50052", "STREAMSTACK_CREDENTIAL_FILE": str(credential)},
    )
    stdout, _ = await process.communicate()
    for setting in ("server_port=50052", "max_open_streams=7", "use_structured_logging=True", "models='en-default'"):
        assert setting in stdout.decode()


async def test_the_engine_is_prepared_before_grpc_is_imported(tmp_path: Path) -> None:
    code = (
        "import sys, streamstack_asr.__main__ as main\n"
        "from streamstack_asr.engines import registry\n"
        "class Stop(Exception): ...\n"
        "class Engine:\n"
        "    def prepare(self):\n"
        "        sys.exit('grpc was imported' if 'grpc' in sys.modules else 0)\n"
        "registry.create = lambda *a, **k: Engine()\n"
        "main.main()\n"
    )
    credential = write_credential(tmp_path)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", code, "--credential-file", str(credential)), stderr=asyncio.subprocess.PIPE
    )
    _, stderr = await process.communicate()
    assert (process.returncode, stderr.decode()) == (0, "")
