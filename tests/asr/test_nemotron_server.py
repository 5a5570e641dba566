"""An ASR server with engine nemotron, as the processes it is: from its flags to the words on a link."""

import os
import signal
import wave
from pathlib import Path

import aiohttp
import pytest

from streamstack_common.contracts import asr_pb2
from support.asr_link import link
from support.asr_process import AsrProcess, asr_process
from support.fake_fleet import TESTS, TINY
from support.waiting import eventually

pytestmark = pytest.mark.nemotron

FLAGS = ("--model-dir", str(TINY), "--device", "cpu", "--precision", "fp32", "--chunk-ms", "320")


def card(name: str) -> bytes:
    with wave.open(str(TESTS / "fixtures" / "recordings" / "cards" / f"{name}.wav")) as recording:
        pcm: bytes = recording.readframes(recording.getnframes())
    return pcm


def workers(server: AsrProcess) -> list[int]:
    """Processes that the server started and that live."""
    pid = server.process.pid
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


async def get(server: AsrProcess, path: str) -> tuple[int, str]:
    headers = {"Authorization": server.authorization}
    async with aiohttp.ClientSession(server.internal, headers=headers) as http, http.get(path) as response:
        return response.status, await response.text()


async def test_a_server_hears_tells_of_its_load_replaces_its_worker_and_leaves_nothing_behind(tmp_path: Path) -> None:
    pcm = card("001")
    half = len(pcm) // 4 * 2
    async with asr_process(tmp_path, engine="nemotron", slots=3, flags=FLAGS) as server:
        async with link(server.asr, server.metadata) as client:
            await client.open(1)
            await client.stream(1, pcm)
            await client.end_turn(1, 0, len(pcm) // 2)
            await client.wait_reply(1, "turn_ended")
            assert client.text(1) == "ten of clubs"
            assert (client.statuses[-1].chunk_ms, client.statuses[-1].left_context_ms) == (320, 28 * 80)

            [worker] = workers(server)
            await client.open(2)
            await client.stream(2, pcm[:half])
            await client.wait_reply(2, "hypothesis")
            os.kill(worker, signal.SIGKILL)
            closed = await client.wait_reply(2, "closed")
            assert closed.reason == asr_pb2.Closed.ENGINE_FAILED
            await client.wait_for(lambda: not client.statuses[-1].accepting)
            await client.wait_for(lambda: client.statuses[-1].accepting)

            # The gateway replays what was not final.
            await client.open(3)
            await client.stream(3, pcm)
            await client.end_turn(3, 0, len(pcm) // 2)
            await client.wait_reply(3, "turn_ended")
            assert client.text(3) == "ten of clubs"

        async def told() -> bool:
            _, text = await get(server, "/metrics")
            return "streamstack_asr_worker_restarts_total 1.0" in text and "chunk_wait_seconds_count{chunk_ms" in text

        await eventually(told)
        assert (await get(server, "/readyz"))[0] == 200
        [second] = workers(server)
        assert second != worker
    assert not Path(f"/proc/{second}").exists()


async def test_a_folder_without_a_model_is_refused_with_words(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    flags = ("--model-dir", str(tmp_path / "empty"))
    with pytest.raises(RuntimeError, match=r"config\.json: missing, expected a model folder"):
        async with asr_process(tmp_path, engine="nemotron", flags=flags):
            pass
