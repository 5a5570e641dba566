"""The operator's metrics, read twice, and lines of figures."""

import re
from typing import Final

import measure
from wire import Spread

SAMPLE: Final = re.compile(r"^(?P<name>[a-z_]+)(?:\{(?P<labels>[^}]*)\})? (?P<value>\S+)$", re.MULTILINE)

Samples = dict[tuple[str, str], float]
"""Values by name and labels."""


def samples(text: str) -> Samples:
    """Return metrics in Prometheus' text format by name and labels."""
    return {(one["name"], one["labels"] or ""): float(one["value"]) for one in SAMPLE.finditer(text)}


def calls(before: Samples, after: Samples) -> dict[str, float]:
    """Return requests to the API server between two readings, by verb and resource."""
    made = {key: value - before.get(key, 0) for key, value in after.items() if key[0].endswith("api_requests_total")}
    return {labels: value for (_, labels), value in made.items() if value}


def passes(what: str, before: Samples, after: Samples) -> None:
    """Print how many passes ended between two readings of the histogram, and their 50th and 99th percentile."""
    prefix = "streamstack_operator_reconcile_seconds_bucket"
    buckets = sorted(
        (float(labels.partition('"')[2].rstrip('"')), value - before.get((name, labels), 0))
        for (name, labels), value in after.items()
        if name == prefix
    )
    total = buckets[-1][1]
    found = [next(bound for bound, number in buckets if number >= total * share) for share in (0.5, 0.99)]
    say(f"{what}: {total:.0f}, p50 and p99 below", " ".join(f"{1000 * bound:.0f} ms" for bound in found))


def spread(what: str, seconds: list[float]) -> None:
    """Print the order statistics of times."""
    found = Spread.of(seconds)
    times = [measure.ms(value) for value in (found.p50_ms, found.p99_ms, found.max_ms)]
    say(f"{what} ({found.count} times)", "p50 {} p99 {} max {} ms".format(*times))


def megabytes(figures: Samples) -> str:
    """Return the resident memory that a process tells of itself."""
    return f"{figures['process_resident_memory_bytes', ''] / 1e6:.0f} MB"


def say(what: str, figure: str) -> None:
    """Print one figure."""
    print(f"{what:<84} {figure}", flush=True)
