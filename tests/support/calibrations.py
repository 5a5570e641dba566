"""Calibrations as ``streamstack calibrate`` writes them, with what a test wants of them."""

from datetime import UTC, datetime
from typing import Any

from streamstack_common.calibration import Calibration, Latency, Level, Machine, Target

LATENCY = Latency(p50_ms=20.0, p95_ms=60.0, p99_ms=90.0)


def level(sessions: int, *, met: bool = True) -> Level:
    return Level(
        sessions=sessions,
        met=met,
        chunks=100 * sessions,
        latency=LATENCY,
        late_chunk_rate=0.0 if met else 0.2,
        turn_end_p95_ms=None,
        driver_lag_p99_ms=1.0,
        reason="" if met else "20.00% late chunks, above 0.10%",
    )


def calibration(**facts: Any) -> Calibration:
    made: dict[str, Any] = {
        "made_at": datetime(2026, 3, 1, tzinfo=UTC),
        "engine": "null",
        "model": "",
        "device": "",
        "precision": "",
        "chunk_ms": 160,
        "machine": Machine(processor="one", cores=2, memory_bytes=1 << 30, system="Linux 6"),
        "target": Target(percentile=95, latency_ms=300, late_chunk_rate=0.001),
        "capacity": 9,
        "margin": 0.85,
        "slots": 7,
        "limited_by": "target",
        "latency": LATENCY,
        "late_chunk_rate": 0.0,
        "levels": (level(8), level(9), level(10, met=False), level(10, met=False), level(9)),
    }
    return Calibration(**{**made, **facts})
