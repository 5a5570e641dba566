"""What was found out, as the file's content and as people read it."""

from collections.abc import Sequence
from datetime import datetime
from math import floor

from streamstack_cli.calibration.search import Search
from streamstack_common.calibration import Calibration, Level, Machine, Target
from streamstack_common.contracts import asr_pb2


def calibration(
    *,
    server: asr_pb2.Description,
    machine: Machine,
    target: Target,
    margin: float,
    search: Search,
    levels: Sequence[Level],
    made_at: datetime,
) -> Calibration | None:
    """Put a calibration together; None when not even one session met the target."""
    best = next((level for level in reversed(levels) if level.met and level.sessions == search.capacity), None)
    if best is None or best.latency is None:
        return None
    return Calibration(
        made_at=made_at,
        engine=server.engine,
        model=server.model,
        device=server.device,
        precision=server.precision,
        chunk_ms=server.chunk_ms,
        machine=machine,
        target=target,
        capacity=search.capacity,
        margin=margin,
        slots=max(1, floor(search.capacity * margin)),
        limited_by="time" if search.level is not None else "sessions" if search.is_at_ceiling else "target",
        latency=best.latency,
        late_chunk_rate=best.late_chunk_rate,
        levels=tuple(levels),
    )


def line(level: Level) -> str:
    """Tell one measurement."""
    latency = level.latency
    times = "no chunk" if latency is None else f"p50 {latency.p50_ms:.0f} ms, p95 {latency.p95_ms:.0f} ms"
    verdict = "ok" if level.met else f"not met: {level.reason}"
    return f"{level.sessions:6} sessions: {times}, {level.late_chunk_rate:.2%} late: {verdict}"


def summary(found: Calibration) -> str:
    """Tell what was found, and the settings that follow from it."""
    target, latency = found.target, found.latency
    facts = {
        "engine": ", ".join(filter(None, (found.engine, found.model, found.device, found.precision))),
        "chunk": f"{found.chunk_ms} ms",
        "machine": f"{found.machine.processor}, {found.machine.cores} cores",
        "target": f"p{target.percentile:g} at most {target.latency_ms:g} ms beyond the chunk, "
        f"at most {target.late_chunk_rate:.2%} late chunks",
        "capacity": f"{found.capacity} sessions{_bound(found)}",
        "latency": f"p50 {latency.p50_ms:g} ms, p95 {latency.p95_ms:g} ms, p99 {latency.p99_ms:g} ms",
        "late": f"{found.late_chunk_rate:.2%} of the chunks",
        "slots": f"{found.slots}, the capacity times {found.margin:g}",
    }
    told = "".join(f"{name:<9}{text}\n" for name, text in facts.items())
    return (
        f"{told}\n"
        f"in a pool of a StreamingStack:\n    slots: {found.slots}\n"
        f"as a setting of the server:\n    MAX_OPEN_STREAMS={found.slots}\n"
    )


def _bound(found: Calibration) -> str:
    if found.limited_by == "sessions":
        return " at least: more were not tried (--max-sessions, or the server's own slots)"
    return " at least: the time was over (--max-minutes)" if found.limited_by == "time" else ""
