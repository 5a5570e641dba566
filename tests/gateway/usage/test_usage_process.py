"""Usage from a real gateway: what arrives while proxies, gateways and servers come and go. Invariant "billed-once"."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from support.asr_process import asr_process
from support.conversation import FRAME_BYTES, Conversation
from support.edge import receive
from support.gateway_process import GatewayProcess, gateway_process
from support.scripted_audio import script
from support.service import TOKEN, write_credential
from support.usage_sink import UsageSink, spooled, usage_sink
from support.waiting import eventually

NOWHERE = "english/en-default=127.0.0.1:9"
SECOND = [bytes(FRAME_BYTES)] * 10
FAST = {"USAGE_INTERVAL_SECONDS": "1"}


@asynccontextmanager
async def gateway(
    folder: Path, *sinks: UsageSink, asr_pools: str = NOWHERE, environment: Mapping[str, str] | None = None
) -> AsyncIterator[GatewayProcess]:
    async with gateway_process(
        folder,
        asr_pools=asr_pools,
        license_proxy=",".join(sink.url for sink in sinks),
        environment={**FAST, **(environment or {})},
    ) as it:
        await it.announced()
        yield it


@asynccontextmanager
async def session(it: GatewayProcess, target: str = "/v3/ws?sample_rate=16000") -> AsyncIterator[tuple[str, Any]]:
    async with it.client(target) as client:
        begin = await receive(client)
        assert begin["type"] == "Begin"
        yield begin["id"], client


async def speak(client: Any, frames: list[bytes]) -> None:
    for frame in frames:
        await client.send(frame)


async def terminate(client: Any) -> None:
    await client.send('{"type": "Terminate"}')
    while (await receive(client))["type"] != "Termination":
        pass


def state_dir(folder: Path) -> dict[str, str]:
    state = folder / "state"
    state.mkdir(exist_ok=True)
    return {"STATE_DIR": str(state)}


async def test_a_session_is_reported_at_its_begin_at_intervals_and_at_its_end(tmp_path: Path) -> None:
    async with (
        asr_process(tmp_path, credential_file=write_credential(tmp_path)) as asr,
        usage_sink() as sink,
        gateway(tmp_path, sink, asr_pools=f"english/en-default={asr.asr}") as it,
    ):
        async with it.client('/v3/ws?keyterms_prompt=["mill"]&language_detection=true') as client:
            conversation = Conversation(client)
            await conversation.until(lambda it: it.messages)
            session_id = conversation.messages[0]["id"]
            await sink.until(lambda: sink.of(session_id))
            first = sink.of(session_id)[0]
            assert (first.sequence, first.audio_ms, first.outcome) == (1, 0, None)
            spoken = script("at the mill")
            await conversation.speak(spoken.pcm)
            milliseconds = spoken.samples // 16
            await sink.until(lambda: len(sink.of(session_id)) >= 3)
            assert sink.of(session_id)[-1].outcome is None
            assert sink.of(session_id)[-1].audio_ms == milliseconds
            await conversation.terminate()
        await sink.until(lambda: sink.outcomes)
        reports = sink.of(session_id)
        last = reports[-1]
        assert [report.sequence for report in reports] == list(range(1, len(reports) + 1))
        assert (last.audio_ms, last.outcome) == (milliseconds, "terminated")
        assert last.transcript_characters == len("at the mill")
        assert last.features == ("keyterms", "language_detection", "partials")
        assert (last.model, last.tenant) == (conversation.messages[0]["configuration"]["model"], None)
        assert sink.authorizations == {f"Bearer {TOKEN}"}
        counted = await it.metrics()
        assert counted['streamstack_gateway_usage_reports_total{result="acknowledged"}'] == len(reports)
        assert counted["streamstack_gateway_usage_unsent_reports"] == 0
        assert counted["streamstack_gateway_usage_oldest_unsent_seconds"] == 0


async def test_flat_billing_reports_nothing_and_writes_nothing(tmp_path: Path) -> None:
    async with usage_sink() as sink:
        sink.license["billing"] = "flat"
        async with gateway(tmp_path, sink, environment=state_dir(tmp_path)) as it:
            async with session(it) as (_, client):
                await speak(client, SECOND)
                polls = sink.polls
                await sink.until(lambda: sink.polls >= polls + 2)  # longer than an interval
            assert await it.stop() == 0
        assert sink.requests == 0
        assert [path.name for path in (tmp_path / "state").iterdir()] == ["license.json"]


async def test_sessions_go_on_while_every_proxy_is_away_and_then_everything_arrives(tmp_path: Path) -> None:
    async with usage_sink() as sink, gateway(tmp_path, sink, environment=state_dir(tmp_path)) as it:
        async with session(it) as (before, client):
            await sink.until(lambda: sink.of(before))
            await sink.down()
            await speak(client, SECOND)
            async with session(it) as (during, other):
                await speak(other, SECOND * 2)
            await it.until_metric("usage_spooled_reports", 2)
            counted = await it.metrics()
            assert counted["streamstack_gateway_usage_unsent_reports"] == 2
            assert counted["streamstack_gateway_usage_oldest_unsent_seconds"] > 0
            assert counted['streamstack_gateway_usage_reports_total{result="failed"}'] > 0
            await sink.up()
            await sink.until(lambda: during in sink.outcomes and sink.billed[before] == 1000)
            await speak(client, SECOND)
        await sink.until(lambda: before in sink.outcomes)
        assert sink.billed == {before: 2000, during: 2000}
        assert sink.outcomes == {before: "client_gone", during: "client_gone"}
        await it.until_metric("usage_spooled_reports", 0)
        assert "usage cannot be delivered" in it.log
        assert "usage is delivered again" in it.log


@pytest.mark.parametrize("is_away", [True, False], ids=["proxy away", "proxy there"])
async def test_a_killed_gateway_loses_one_interval_at_most(tmp_path: Path, is_away: bool) -> None:
    async with usage_sink() as sink, AsyncExitStack() as clients:
        async with gateway(tmp_path, sink, environment=state_dir(tmp_path)) as it:
            live, client = await clients.enter_async_context(session(it))
            async with session(it) as (ended, other):
                await speak(other, SECOND)
                await terminate(other)
            await sink.until(lambda: ended in sink.outcomes)
            if is_away:
                await sink.down()
            await speak(client, SECOND * 3)
            if is_away:
                async with session(it) as (unheard, other):
                    await speak(other, SECOND * 2)
                await eventually(lambda: holds(tmp_path, {live: 3000, unheard: 2000}))
            else:
                await sink.until(lambda: sink.billed[live] == 3000)
            await speak(client, SECOND)
            it.kill()
            await it.wait()
        if is_away:
            await sink.up()
        acknowledged = dict(sink.billed)
        async with gateway(tmp_path, sink, environment=state_dir(tmp_path)) as again:
            if is_away:
                await sink.until(lambda: sink.billed[live] >= 3000 and unheard in sink.outcomes)
                assert "usage reports of an earlier process wait" in again.log
                assert sink.billed[unheard] == 2000
            await again.until_metric("usage_spooled_reports", 0)
        assert acknowledged[live] <= sink.billed[live]
        assert 3000 <= sink.billed[live] <= 4000
        # Whether the session is over, only the authority says.
        assert live not in sink.outcomes
        sequences = [report.sequence for report in sink.of(live)]
        assert sequences == sorted(sequences)
        assert sink.billed[ended] == 1000


async def holds(folder: Path, wanted: Mapping[str, int]) -> bool:
    """Whether the spool has so much audio of each of these sessions."""
    reports = await asyncio.to_thread(spooled, folder / "state" / "usage.sqlite3")
    return wanted.items() <= {report.session_id: report.audio_ms for report in reports}.items()


async def test_the_other_proxy_takes_what_one_no_longer_can(tmp_path: Path) -> None:
    async with usage_sink() as first, usage_sink() as second, gateway(tmp_path, first, second) as it:
        async with session(it) as (session_id, client):
            await first.until(lambda: first.of(session_id))
            assert not second.requests
            await first.down()
            await speak(client, SECOND)
            await second.until(lambda: second.billed.get(session_id) == 1000)
            await terminate(client)
        await second.until(lambda: session_id in second.outcomes)
        sequences = [report.sequence for report in (*first.of(session_id), *second.of(session_id))]
        assert sequences == sorted(sequences)


@pytest.mark.parametrize("status", [401, 404, 500, 503, 507])
async def test_only_a_receipt_acknowledges(tmp_path: Path, status: int) -> None:
    async with usage_sink() as sink, gateway(tmp_path, sink) as it:
        sink.refuse_status = status
        async with session(it) as (session_id, client):
            await speak(client, SECOND)
            await sink.until(lambda: sink.requests >= 2)
        assert f"/v1/usage answered {status}" in it.log
        sink.refuse_status = None
        await sink.until(lambda: session_id in sink.outcomes)
        assert sink.billed == {session_id: 1000}


async def test_a_report_that_can_never_be_taken_is_logged_and_stands_in_nobodys_way(tmp_path: Path) -> None:
    async with usage_sink() as sink, gateway(tmp_path, sink) as it:
        async with session(it) as (bad, client), session(it) as (good, other):
            sink.reject = bad
            await speak(client, SECOND)
            await speak(other, SECOND)
            await sink.until(lambda: sink.billed.get(good) == 1000)
        await sink.until(lambda: good in sink.outcomes)
        await it.until_metric("usage_unsent_reports", 0)
        assert (await it.metrics())['streamstack_gateway_usage_reports_total{result="rejected"}'] > 0
        assert f"of session {bad} is rejected: 'not wanted'" in it.log
        assert await it.stop() == 0
        assert "not delivered" not in it.log


async def test_a_stop_waits_until_the_last_report_is_taken(tmp_path: Path) -> None:
    async with usage_sink() as sink, gateway(tmp_path, sink) as it:
        async with session(it) as (session_id, client):
            await sink.until(lambda: sink.of(session_id))
            await sink.down()
            await speak(client, SECOND)
            stopping = asyncio.create_task(it.stop())
            await it.until_admission("retired")
            await terminate(client)
        await it.until_logged("usage cannot be delivered")
        assert not stopping.done()
        assert (await it.internal("/sessions"))[1]["sessions"] == 0
        await sink.up()
        assert await stopping == 0
        assert sink.billed == {session_id: 1000}
        assert sink.outcomes == {session_id: "terminated"}


async def test_a_stop_whose_grace_is_over_says_what_is_left_and_keeps_it(tmp_path: Path) -> None:
    async with usage_sink() as sink:
        grace = {"STOP_GRACE_SECONDS": "2", **state_dir(tmp_path)}
        async with gateway(tmp_path, sink, environment=grace) as it:
            async with session(it) as (session_id, client):
                await sink.until(lambda: sink.of(session_id))
                await sink.down()
                await speak(client, SECOND)
                await terminate(client)
            assert await it.stop() == 0
            assert "CRITICAL" in it.log
            assert "1 usage reports are not delivered; 1 of them are kept in " in it.log
        await sink.up()
        async with gateway(tmp_path, sink, environment=grace) as again:
            await sink.until(lambda: session_id in sink.outcomes)
            assert await again.stop() == 0
        assert sink.billed == {session_id: 1000}
        assert not await asyncio.to_thread(spooled, tmp_path / "state" / "usage.sqlite3")


async def test_sessions_that_a_stop_has_to_end_are_reported_in_full(tmp_path: Path) -> None:
    async with (
        usage_sink() as sink,
        gateway(tmp_path, sink, environment={"STOP_GRACE_SECONDS": "0", "USAGE_INTERVAL_SECONDS": "600"}) as it,
    ):
        async with session(it) as (session_id, client):
            await sink.until(lambda: sink.of(session_id))
            await speak(client, SECOND)
            await client.ping()
            assert await it.stop() == 0
        assert sink.outcomes == {session_id: "stopping"}
        assert sink.billed[session_id] <= 1000


async def test_replayed_audio_is_not_counted(tmp_path: Path) -> None:
    """Invariant "billed-once": servers die under the session, its audio is sent again, and it costs the same."""
    credential = write_credential(tmp_path)
    async with asr_process(tmp_path, credential_file=credential) as asr:
        address = asr.asr
    port = int(address.rpartition(":")[2])
    spoken = script(" ".join(["the quick brown fox jumps over the lazy dog"] * 3))
    async with usage_sink() as sink, gateway(tmp_path, sink, asr_pools=f"english/en-default={address}") as it:
        async with it.client() as client:
            conversation = Conversation(client)
            await conversation.until(lambda it: it.messages)
            session_id = conversation.messages[0]["id"]
            piece = len(spoken.pcm) // 3 // FRAME_BYTES * FRAME_BYTES
            for start in (0, piece):
                async with asr_process(tmp_path, credential_file=credential, port=port) as server:
                    seen = len(conversation.turns)
                    await conversation.speak(spoken.pcm[start : start + piece])
                    await conversation.until(lambda it, seen=seen: len(it.turns) > seen)
                    server.kill()
            async with asr_process(tmp_path, credential_file=credential, port=port):
                await conversation.speak(spoken.pcm[2 * piece :])
                await conversation.terminate()
        await sink.until(lambda: session_id in sink.outcomes)
        assert conversation.text == spoken.text
        assert it.log.count("lost its server") >= 2
        assert sink.billed[session_id] == spoken.samples // 16
        audio = [report.audio_ms for report in sink.of(session_id)]
        assert audio == sorted(audio)


async def test_a_disk_that_cannot_be_written_only_warns(tmp_path: Path) -> None:
    async with usage_sink() as sink:
        nowhere = {"STATE_DIR": str(tmp_path / "absent")}
        async with gateway(tmp_path, sink, environment=nowhere) as it:
            async with session(it) as (session_id, client):
                await sink.until(lambda: sink.of(session_id))
                await sink.down()
                await speak(client, SECOND)
                await it.until_logged("what cannot be delivered is in memory only")
                await sink.up()
                await sink.until(lambda: sink.billed.get(session_id) == 1000)
                await terminate(client)
            assert await it.stop() == 0
        assert sink.outcomes == {session_id: "terminated"}


async def test_without_a_folder_it_is_said_that_memory_is_all_there_is(tmp_path: Path) -> None:
    async with usage_sink() as sink, gateway(tmp_path, sink) as it:
        assert it.log.count("STATE_DIR is not set") == 1
