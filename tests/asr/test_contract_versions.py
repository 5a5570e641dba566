"""A server and a gateway of different contract versions understand each other, over a real socket.

Every file of protos/released/ is compiled into its own descriptor pool and plays the other end. A contract made up
here, with everything a later version may add, plays the newer end.
"""

import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from streamstack_common.contracts import asr_pb2, rpc
from support.asr_link import link
from support.asr_process import asr_process
from support.scripted_audio import script

RELEASED = Path(__file__).resolve().parents[2] / "protos/released"
RELEASES = sorted(path.name for path in RELEASED.glob("*.proto"))
NEXT = "next"

ADDITIONS = (
    ("  bool format = 3;", "  bool format = 3;\n  bool diarize = 4;"),
    ("message Audio {", "message Audio {\n  uint32 channel = 3;"),
    ("    Close close = 6;", "    Close close = 6;\n    Pause pause = 7;"),
    ("message Close {}", "message Close {}\nmessage Pause { uint32 for_ms = 1; }"),
    ("    Closed closed = 8;", "    Closed closed = 8;\n    Gauge gauge = 9;"),
    ("message DescribeRequest {}", "message DescribeRequest {}\nmessage Gauge { float load = 1; }"),
    ("    NOT_ACCEPTING = 2;", "    NOT_ACCEPTING = 2;\n    TENANT_FULL = 9;"),
    ("  bool is_final = 5;", "  bool is_final = 5;\n  string speaker = 6;"),
)


def source(version: str) -> str:
    if version != NEXT:
        return (RELEASED / version).read_text()
    text = (RELEASED / RELEASES[-1]).read_text()
    for old, new in ADDITIONS:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


def contract(version: str, folder: Path) -> SimpleNamespace:
    """Message classes of a version by their name, strangers to ``asr_pb2``."""
    proto = folder / "other.proto"
    proto.write_text(source(version))
    target = folder / "set"
    command = ("-m", "grpc_tools.protoc", f"-I{folder}", f"--descriptor_set_out={target}", str(proto))
    subprocess.run([sys.executable, *command], check=True)
    files = descriptor_pb2.FileDescriptorSet.FromString(target.read_bytes())
    classes = message_factory.GetMessages(list(files.file), pool=descriptor_pool.DescriptorPool())
    return SimpleNamespace(**{name.rsplit(".", 1)[1]: made for name, made in classes.items()})


@pytest.fixture(params=[*RELEASES, NEXT])
def other(request: pytest.FixtureRequest, tmp_path: Path) -> SimpleNamespace:
    made = contract(request.param, tmp_path)
    assert made.ToAsr is not asr_pb2.ToAsr
    return made


async def test_another_versions_gateway_is_served_by_the_present_server(other: Any, tmp_path: Path) -> None:
    made = script("we still understand")
    async with (
        asr_process(tmp_path, slots=1) as server,
        link(server.asr, server.metadata, contract=other) as client,
    ):
        await client.wait_for(lambda: client.statuses and client.statuses[0].slots == 1)
        await client.open(1, attempt=2, turn_id=4)
        assert (await client.wait_reply(1, "opened")).instance_id == client.statuses[0].instance_id
        await client.open(2)
        refused = await client.wait_reply(2, "refused")
        assert refused.reason == other.Refused.DESCRIPTOR.enum_values_by_name["FULL"].number
        if hasattr(other, "Pause"):
            await client.send(other.SessionRequest(session=1, pause=other.Pause(for_ms=1)))
        config = other.SessionConfig(keyterms=["word"], language="en")
        await client.send(other.SessionRequest(session=1, update=other.Update(config=config)))
        await client.stream(1, made.pcm)
        await client.end_turn(1, 4, made.samples)
        ended = await client.wait_reply(1, "turn_ended")
        assert (ended.turn_id, ended.attempt, ended.through_sample) == (4, 2, made.samples)
        assert [(w.text, w.start_sample, w.end_sample, w.is_final) for w in client.turns(1)[4]] == [
            (w.text, w.start_sample, w.end_sample, True) for w in made.words
        ]
        server.terminate()
        assert (await client.wait_reply(1, "please_move")).within_ms > 0
        await client.close_session(1)
        closed = await client.wait_reply(1, "closed")
        assert closed.reason == other.Closed.DESCRIPTOR.enum_values_by_name["REQUESTED"].number


async def test_another_versions_describe_and_transcribe_are_answered(other: Any, tmp_path: Path) -> None:
    made = script("all at once")
    async with asr_process(tmp_path) as server, grpc.aio.insecure_channel(server.asr) as channel:

        async def call(method: str, request: Any, response: Any) -> Any:
            make = channel.unary_unary(
                method, request_serializer=type(request).SerializeToString, response_deserializer=response.FromString
            )
            return await make(request, metadata=server.metadata)

        description = await call(rpc.DESCRIBE, other.DescribeRequest(), other.Description)
        assert (description.engine, description.capabilities.batch) == ("scripted", True)
        request = other.TranscribeRequest(model="en-default", pcm=made.pcm)
        answer = await call(rpc.TRANSCRIBE, request, other.TranscribeResponse)
        assert " ".join(word.text for word in answer.words) == made.text


class OtherServer:
    """A server that knows only another version: every audio message is heard as one final word of that length."""

    def __init__(self, contract: Any) -> None:
        self.contract = contract

    async def serve(self, _requests: Any, context: Any) -> None:
        status = self.contract.ServerStatus(sequence=1, instance_id="other", slots=1, free_slots=1, accepting=True)
        await context.write(self.contract.FromAsr(status=status))
        words = 0
        while (message := await context.read()) is not grpc.aio.EOF:
            replies = []
            for request in message.requests:
                kind = request.WhichOneof("request")
                words += kind == "audio"
                replies += self.answer(request, kind, words)
            if replies:
                await context.write(self.contract.FromAsr(replies=replies))

    def answer(self, request: Any, kind: str, words: int) -> list[Any]:
        made = self.contract

        def reply(**fields: Any) -> Any:
            return made.SessionReply(session=request.session, **fields)

        extra = [reply(gauge=made.Gauge(load=0.5))] if hasattr(made, "Gauge") else []
        if kind == "open":
            if request.open.model == "full":
                return [reply(refused=made.Refused(reason=2, message="not now"))]
            return [*extra, reply(opened=made.Opened(instance_id=request.open.session_id))]
        if kind == "audio":
            offset, length = request.audio.offset, len(request.audio.pcm) // 2
            word = made.Word(text=f"w{words}", start_sample=offset, end_sample=offset + length, is_final=True)
            heard = made.Hypothesis(turn_id=3, words_before=words - 1, words=[word], through_sample=offset + length)
            return [*extra, reply(hypothesis=heard)]
        if kind == "end_turn":
            through = request.end_turn.through_sample
            return [
                reply(final=made.Final(turn_id=3, words_before=words)),
                reply(turn_ended=made.TurnEnded(turn_id=request.end_turn.turn_id, through_sample=through)),
            ]
        return [reply(closed=made.Closed(reason=1))]


@asynccontextmanager
async def other_server(contract: Any) -> AsyncIterator[str]:
    server = grpc.aio.server()
    handler = grpc.stream_stream_rpc_method_handler(
        OtherServer(contract).serve,
        request_deserializer=contract.ToAsr.FromString,
        response_serializer=contract.FromAsr.SerializeToString,
    )
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(rpc.SERVICE, {"Link": handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(None)


async def test_the_present_gateways_messages_are_understood_by_another_versions_server(other: Any) -> None:
    async with other_server(other) as address, link(address, (("authorization", "Bearer x"),)) as client:
        status = (await client.wait_for(lambda: client.statuses))[0]
        assert (status.instance_id, status.free_slots, status.accepting) == ("other", 1, True)
        await client.open(1, turn_id=3, first_sample=500)
        assert (await client.wait_reply(1, "opened")).instance_id == "s1"
        await client.open(2, model="full")
        assert (await client.wait_reply(2, "refused")).reason == asr_pb2.Refused.NOT_ACCEPTING
        await client.audio(1, bytes(200))
        await client.audio(1, bytes(100))
        await client.end_turn(1, 3, 650)
        ended = await client.wait_reply(1, "turn_ended")
        assert (ended.turn_id, ended.through_sample) == (3, 650)
        assert [(w.text, w.start_sample, w.end_sample) for w in client.turns(1)[3]] == [
            ("w1", 500, 600),
            ("w2", 600, 650),
        ]
        await client.close_session(1)
        assert (await client.wait_reply(1, "closed")).reason == asr_pb2.Closed.REQUESTED
