"""The Recognizer service: who may call, and what the three calls do."""

from collections.abc import Awaitable, Callable
from typing import Any, Final, NoReturn

import grpc

from streamstack_asr.engines.base import EngineError, Transcript
from streamstack_asr.server.describe import description
from streamstack_asr.server.encoding import add_words
from streamstack_asr.server.link import Link, LinkContext
from streamstack_asr.server.sessions import Shared, config_of
from streamstack_asr.server.slots import FULL, UNKNOWN_MODEL, Lease, NoSlotError
from streamstack_common.contracts import asr_pb2
from streamstack_common.contracts.rpc import AUTHORIZATION, BYTES_PER_SAMPLE, DESCRIBE, LINK, TRANSCRIBE, samples_to_ms
from streamstack_common.credential import Credential

STOPPING: Final = asr_pb2.Closed.STOPPING

Context = grpc.aio.ServicerContext[Any, Any]


class Recognizer(grpc.GenericRpcHandler):
    """Handlers without generated stubs; every call needs the stack's credential."""

    def __init__(self, shared: Shared, credential: Credential) -> None:
        self._shared = shared
        self._credential = credential
        self._links: set[Link] = set()
        self._handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            LINK: grpc.stream_stream_rpc_method_handler(
                self._link, request_deserializer=asr_pb2.ToAsr.FromString, response_serializer=None
            ),
            TRANSCRIBE: _unary(self._transcribe, asr_pb2.TranscribeRequest.FromString),
            DESCRIBE: _unary(self._describe, asr_pb2.DescribeRequest.FromString),
        }

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[Any, Any] | None":
        """Choose the handler of a call; a caller without the credential gets one that refuses."""
        handler = self._handlers.get(str(handler_call_details.method))
        if handler is None or self._accepts(handler_call_details):
            return handler
        if handler.request_streaming:
            return grpc.stream_stream_rpc_method_handler(_refuse_caller)
        return grpc.unary_unary_rpc_method_handler(_refuse_caller)

    def please_move(self, reason: str, within_ms: int) -> None:
        """Ask every session of every link to go elsewhere."""
        for link in self._links:
            link.sessions.please_move(reason, within_ms)

    def close_all(self) -> None:
        """Close every session because the server stops, and end every link once that is written."""
        for link in tuple(self._links):
            link.sessions.close_all(STOPPING, "the server stops")
            link.finish()

    def _accepts(self, details: grpc.HandlerCallDetails) -> bool:
        metadata = details.invocation_metadata or ()
        return any(key == AUTHORIZATION and self._credential.accepts(value) for key, value in metadata)

    async def _link(self, _requests: object, context: LinkContext) -> None:
        link = Link(self._shared, context)
        self._links.add(link)
        try:
            await link.serve()
        finally:
            self._links.discard(link)

    async def _describe(self, _request: asr_pb2.DescribeRequest, _context: Context) -> asr_pb2.Description:
        shared = self._shared
        return description(shared.engine.describe(), shared.slots, shared.instance_id)

    async def _transcribe(self, request: asr_pb2.TranscribeRequest, context: Context) -> asr_pb2.TranscribeResponse:
        totals = self._shared.totals
        problem = self._problem_with(request)
        if problem is not None:
            totals.transcribes[problem[0].name] += 1
            await context.abort(*problem)
        transcript = await self._run_batch(request, context)
        samples = len(request.pcm) // BYTES_PER_SAMPLE
        totals.transcribes[grpc.StatusCode.OK.name] += 1
        totals.transcribed_samples += samples
        response = asr_pb2.TranscribeResponse(audio_ms=samples_to_ms(samples), language=transcript.language)
        add_words(response.words, transcript.words)
        return response

    def _problem_with(self, request: asr_pb2.TranscribeRequest) -> tuple[grpc.StatusCode, str] | None:
        facts = self._shared.engine.describe()
        size = len(request.pcm)
        if not facts.batch:
            return grpc.StatusCode.UNIMPLEMENTED, f"engine {facts.engine!r} has no batch mode"
        if size == 0 or size % BYTES_PER_SAMPLE:
            return grpc.StatusCode.INVALID_ARGUMENT, f"{size} bytes of audio: expected 16-bit samples, an even number"
        return None

    async def _run_batch(self, request: asr_pb2.TranscribeRequest, context: Context) -> Transcript:
        shared = self._shared
        lease = await self._take(request.model, context)
        try:
            return await shared.engine.transcribe(request.pcm, config_of(request.config))
        except EngineError as error:
            shared.totals.transcribes[grpc.StatusCode.INTERNAL.name] += 1
            await context.abort(grpc.StatusCode.INTERNAL, str(error))
        finally:
            shared.slots.release(lease)

    async def _take(self, model: str, context: Context) -> Lease:
        try:
            return self._shared.slots.take(model)
        except NoSlotError as error:
            code = {
                FULL: grpc.StatusCode.RESOURCE_EXHAUSTED,
                UNKNOWN_MODEL: grpc.StatusCode.INVALID_ARGUMENT,
            }.get(error.reason, grpc.StatusCode.UNAVAILABLE)
            self._shared.totals.transcribes[code.name] += 1
            await context.abort(code, str(error))


def _unary(
    behaviour: Callable[[Any, Context], Awaitable[Any]], deserializer: Callable[[bytes], Any]
) -> "grpc.RpcMethodHandler[Any, Any]":
    return grpc.unary_unary_rpc_method_handler(
        behaviour, request_deserializer=deserializer, response_serializer=_serialize
    )


def _serialize(message: Any) -> bytes:
    data: bytes = message.SerializeToString()
    return data


async def _refuse_caller(_request: object, context: Context) -> NoReturn:
    await context.abort(
        grpc.StatusCode.UNAUTHENTICATED, f"expected metadata {AUTHORIZATION}: Bearer <the stack's credential>"
    )
