"""What a level came to: percentiles, late chunks, and whether that is good enough."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import Final

from streamstack_common.calibration import Latency, Level, Target

BUSY_DRIVER_SHARE: Final = 0.9
"""Share of one core from which on the measuring side may be what is slow."""


@dataclass(slots=True)
class Tally:
    """What happened to the chunks of one window; times are seconds.

    ``latencies`` holds one for each chunk. One whose answer had not come is in it with the time that was waited, always
    more than a chunk's length. ``lags`` tells how late chunks were sent, ``driver_share`` what share of one core
    measuring took, ``failures`` what went wrong with sessions.
    """

    chunk_seconds: float
    latencies: list[float] = field(default_factory=list)
    turn_ends: list[float] = field(default_factory=list)
    lags: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    driver_share: float = 0.0

    @property
    def late(self) -> int:
        """Chunks whose hypothesis came more than a chunk's length after their last sample, or not at all."""
        return sum(latency > self.chunk_seconds for latency in self.latencies)


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the smallest value that ``percent`` % of ``values`` do not exceed. Raises ValueError without any."""
    if not values:
        raise ValueError("no values: expected at least one")
    return sorted(values)[max(0, ceil(len(values) * percent / 100) - 1)]


def judge(sessions: int, tally: Tally, target: Target) -> Level:
    """Turn a tally into the level it measured."""
    values = tally.latencies
    rate = tally.late / len(values) if values else 0.0
    reasons = list(dict.fromkeys(tally.failures))[:3]
    if not values:
        reasons.append("no chunk was sent within the measurement: expected a longer one")
    else:
        measured = _ms(percentile(values, target.percentile))
        if measured > target.latency_ms:
            reasons.append(f"p{target.percentile:g} {measured:g} ms, above {target.latency_ms:g} ms")
        if rate > target.late_chunk_rate:
            reasons.append(f"{rate:.2%} late chunks, above {target.late_chunk_rate:.2%}")
    met = not reasons
    if not met and tally.driver_share > BUSY_DRIVER_SHARE:
        reasons.append(f"measuring itself took {tally.driver_share:.0%} of a core and may be what is slow")
    return Level(
        sessions=sessions,
        met=met,
        chunks=len(values),
        latency=_latency(values) if values else None,
        late_chunk_rate=rate,
        turn_end_p95_ms=_ms(percentile(tally.turn_ends, 95)) if tally.turn_ends else None,
        driver_lag_p99_ms=_ms(percentile(tally.lags, 99)) if tally.lags else 0.0,
        reason="; ".join(reasons),
    )


def _latency(values: Sequence[float]) -> Latency:
    p50, p95, p99 = (_ms(percentile(values, percent)) for percent in (50, 95, 99))
    return Latency(p50_ms=p50, p95_ms=p95, p99_ms=p99)


def _ms(seconds: float) -> float:
    return round(max(0.0, seconds) * 1000, 2)
