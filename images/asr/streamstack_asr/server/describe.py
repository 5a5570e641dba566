"""What a server tells about itself: Description of the unary call, status of a link, report of ``/sessions``."""

from collections.abc import Callable
from datetime import UTC, datetime

from streamstack_asr.engines.base import EngineDescription
from streamstack_asr.server.slots import Slots
from streamstack_common.contracts import asr_pb2
from streamstack_common.contracts.rpc import CONTRACT_VERSION
from streamstack_common.sessions_report import PoolSessions, SessionsReport


def description(engine: EngineDescription, slots: Slots, instance_id: str) -> asr_pb2.Description:
    """What this server is and can do, now."""
    return asr_pb2.Description(
        contract_version=CONTRACT_VERSION,
        instance_id=instance_id,
        engine=engine.engine,
        models=engine.models,
        slots=slots.total,
        free_slots=slots.free,
        left_context_ms=engine.left_context_ms,
        chunk_ms=engine.chunk_ms,
        window_ms=engine.window_ms,
        capabilities=asr_pb2.Capabilities(
            languages=engine.languages,
            word_times=engine.word_times,
            word_confidence=engine.word_confidence,
            keyterms=engine.keyterms,
            punctuation=engine.punctuation,
            batch=engine.batch,
            turn_complete=engine.turn_complete,
        ),
        model=engine.model,
        device=engine.device,
        precision=engine.precision,
    )


def status_source(describe: Callable[[], EngineDescription], slots: Slots, instance_id: str) -> Callable[[], bytes]:
    """Make the function that writes one link's statuses, each with the next sequence number, as pieces.

    A link may be older than the engine's start, and an engine knows itself in full only then.
    """
    status = asr_pb2.ServerStatus(instance_id=instance_id, slots=slots.total)
    told: EngineDescription | None = None

    def piece() -> bytes:
        nonlocal told
        engine = describe()
        if engine is not told:
            told = engine
            status.left_context_ms = engine.left_context_ms
            status.chunk_ms = engine.chunk_ms
            status.window_ms = engine.window_ms
            status.models[:] = engine.models
        status.sequence += 1
        status.free_slots = slots.free
        status.accepting = slots.accepting
        return asr_pb2.FromAsr(status=status).SerializeToString()

    return piece


def sessions_report(slots: Slots, instance_id: str, revision: str) -> SessionsReport:
    """Body of ``/sessions``: an ASR server keeps nobody waiting and carries exactly its slots."""
    oldest = slots.oldest_started_at
    return SessionsReport(
        instance_id=instance_id,
        revision=revision,
        admission=slots.admission,
        generation=slots.retirement.generation,
        sessions=slots.in_use,
        oldest_started_at=None if oldest is None else datetime.fromtimestamp(oldest, UTC),
        capacity=slots.total,
        max_sessions=slots.total,
        pools={
            model: PoolSessions(in_use=pool.in_use, waiting=0, refused_total=pool.refused_total)
            for model, pool in slots.pools.items()
        },
    )
