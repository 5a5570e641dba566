"""Who may call, the unary calls, health and the internal port, over real sockets."""

from datetime import UTC, datetime
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2

from streamstack_common.contracts import asr_pb2, rpc
from streamstack_common.retirement import Admission
from support.asr_link import link
from support.scripted_audio import script

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


async def unary(address: str, method: str, request: Any, response: Any, metadata: Any = ()) -> Any:
    async with grpc.aio.insecure_channel(address) as channel:
        call = channel.unary_unary(
            method, request_serializer=type(request).SerializeToString, response_deserializer=response.FromString
        )
        return await call(request, metadata=metadata, timeout=30)


async def health(address: str) -> Any:
    answer = await unary(
        address, "/grpc.health.v1.Health/Check", health_pb2.HealthCheckRequest(), health_pb2.HealthCheckResponse
    )
    return answer.status


async def transcribe(running: Any, **fields: Any) -> Any:
    request = asr_pb2.TranscribeRequest(**({"model": "en-default"} | fields))
    return await unary(running.address, rpc.TRANSCRIBE, request, asr_pb2.TranscribeResponse, running.metadata)


@pytest.mark.parametrize("metadata", [(), (("authorization", "Bearer not-the-token-at-all"),)])
async def test_every_call_wants_the_credential(running: Any, metadata: tuple[tuple[str, str], ...]) -> None:
    async with link(running.address, metadata) as client:
        await client.wait_for(lambda: client.ended)
        assert client.ended is grpc.StatusCode.UNAUTHENTICATED
        assert client.statuses == []
    for method, request, response in (
        (rpc.DESCRIBE, asr_pb2.DescribeRequest(), asr_pb2.Description),
        (rpc.TRANSCRIBE, asr_pb2.TranscribeRequest(), asr_pb2.TranscribeResponse),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await unary(running.address, method, request, response, metadata)
        assert error.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert running.server.totals.links_ended == {}


async def test_health_needs_no_credential_and_follows_the_life_of_the_server(start_server: Any) -> None:
    async with start_server(warm=False) as running:
        assert await health(running.address) == NOT_SERVING
        async with link(running.address, running.metadata) as client:
            await client.open(1)
            refused = await client.wait_reply(1, "refused")
            assert (refused.reason, refused.message) == (
                asr_pb2.Refused.NOT_ACCEPTING,
                "the server is not warm yet",
            )
        async with running.http() as http, http.get("/readyz") as response:
            assert (response.status, await response.text()) == (503, "warming up\n")
        await running.server.warm_up()
        assert await health(running.address) == SERVING
        async with running.http() as http, http.get("/readyz") as response:
            assert response.status == 200


async def test_describe_tells_what_the_server_is(running: Any) -> None:
    request = asr_pb2.DescribeRequest()
    answer = await unary(running.address, rpc.DESCRIBE, request, asr_pb2.Description, running.metadata)
    assert answer == asr_pb2.Description(
        contract_version="1.1",
        instance_id=running.server.instance_id,
        engine="scripted",
        models=["en-default"],
        slots=4,
        free_slots=4,
        left_context_ms=200,
        chunk_ms=40,
        window_ms=10_000,
        capabilities=asr_pb2.Capabilities(languages=["en"], word_times=True, word_confidence=True, batch=True),
    )


async def test_a_whole_recording_is_transcribed_and_its_slot_given_back(running: Any) -> None:
    made = script("one whole recording")
    answer = await transcribe(running, pcm=made.pcm)
    assert " ".join(word.text for word in answer.words) == made.text
    assert answer.audio_ms == made.samples // 16
    assert running.server.slots.in_use == 0


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"pcm": b""}, grpc.StatusCode.INVALID_ARGUMENT),
        ({"pcm": b"abc"}, grpc.StatusCode.INVALID_ARGUMENT),
        ({"pcm": b"ab", "model": "other"}, grpc.StatusCode.INVALID_ARGUMENT),
        ({"pcm": bytes(5 << 20)}, grpc.StatusCode.RESOURCE_EXHAUSTED),
    ],
)
async def test_a_wrong_recording_is_refused_by_type(running: Any, fields: Any, code: grpc.StatusCode) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await transcribe(running, **fields)
    assert error.value.code() is code


async def test_a_full_or_retired_server_transcribes_nothing(start_server: Any) -> None:
    async with start_server(slots=1) as running:
        lease = running.server.slots.take("en-default")
        with pytest.raises(grpc.aio.AioRpcError) as full:
            await transcribe(running, pcm=b"ab")
        assert full.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        running.server.slots.release(lease)
        running.server.slots.retirement.retire(1)
        with pytest.raises(grpc.aio.AioRpcError) as retired:
            await transcribe(running, pcm=b"ab")
        assert retired.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_an_engine_without_batch_mode_says_so(start_server: Any) -> None:
    async with start_server(engine="null") as running:
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await transcribe(running, pcm=b"ab")
        assert error.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_sessions_are_reported_for_the_operator(running: Any) -> None:
    async with link(running.address, running.metadata) as client, running.http() as http:
        before = datetime.now(UTC)
        await client.open(1)
        await client.wait_reply(1, "opened")
        async with http.get("/sessions") as response:
            report = await response.json()
        oldest = datetime.fromisoformat(report.pop("oldest_started_at"))
        assert 0 <= (datetime.now(UTC) - oldest).total_seconds() < (datetime.now(UTC) - before).total_seconds() + 1
        assert report == {
            "schema_version": 1,
            "instance_id": running.server.instance_id,
            "revision": "r1",
            "admission": "open",
            "generation": 0,
            "sessions": 1,
            "capacity": 4,
            "max_sessions": 4,
            "pools": {"en-default": {"in_use": 1, "waiting": 0, "refused_total": 0}},
        }
        await client.close_session(1)
        await client.wait_reply(1, "closed")
        async with http.get("/sessions") as response:
            report = await response.json()
        assert (report["sessions"], report["oldest_started_at"]) == (0, None)


async def test_retire_and_resume_answer_with_the_state_reached(running: Any) -> None:
    async with running.http() as http:

        async def post(path: str, body: Any) -> tuple[int, Any, Any]:
            async with http.post(path, json=body) as response:
                answer = await response.json()
                return response.status, answer.get("admission"), answer.get("generation")

        assert await post("/retire", {"generation": 5}) == (200, "retired", 5)
        assert await post("/retire", {"generation": 5}) == (200, "retired", 5)
        assert await post("/resume", {"generation": 4}) == (409, "retired", 5)
        assert await post("/resume", {"generation": 6}) == (200, "open", 6)
        assert await post("/retire", {"generation": 5}) == (409, "open", 6)
        for wrong in ({}, {"generation": "7"}, {"generation": -1}, [7], None):
            assert (await post("/retire", wrong))[0] == 400
        async with http.post("/retire", data=b"{") as response:
            assert response.status == 400
            assert 'expected {"generation": <integer from 0>}' in (await response.json())["error"]
        assert running.server.slots.admission is Admission.OPEN


async def test_the_internal_port_wants_the_credential(running: Any) -> None:
    async with running.http() as http:
        for method, path in (("GET", "/sessions"), ("POST", "/retire"), ("POST", "/resume"), ("GET", "/metrics")):
            headers = {"Authorization": "Bearer not-the-token-at-all"}
            async with http.request(method, path, headers=headers, json={"generation": 1}) as response:
                assert response.status == 401
    assert running.server.slots.retirement.generation == 0


async def test_metrics_tell_what_happened(running: Any) -> None:
    made = script("counted", tail_ms=400)
    async with link(running.address, running.metadata) as client, running.http() as http:
        await client.open(1)
        await client.open(2, model="other")
        await client.stream(1, made.pcm)
        await client.end_turn(1, 0, made.samples)
        await client.wait_reply(1, "turn_ended")
        await transcribe(running, pcm=made.pcm)
        async with http.get("/metrics") as response:
            text = await response.text()
    lines = dict(line.rsplit(" ", 1) for line in text.splitlines() if line.startswith("streamstack_asr_"))
    seconds = made.samples / 16_000
    expected = {
        'streamstack_asr_sessions{model="en-default"}': 1,
        "streamstack_asr_slots": 4,
        "streamstack_asr_links": 1,
        "streamstack_asr_accepting": 1,
        'streamstack_asr_opens_total{result="opened"}': 1,
        'streamstack_asr_opens_total{result="unknown_model"}': 1,
        "streamstack_asr_audio_seconds_total": seconds,
        "streamstack_asr_hypotheses_total": made.samples // 640,
        "streamstack_asr_finals_total": 1,
        'streamstack_asr_transcribe_total{status="ok"}': 1,
        "streamstack_asr_transcribed_seconds_total": seconds,
    }
    assert {name: float(lines[name]) for name in expected} == pytest.approx(expected)
    assert "process_cpu_seconds_total" in text
