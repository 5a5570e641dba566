"""``streamstack usage report``: what is billed, by customer and day."""

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import chain
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field

from streamstack_cli import exit_codes
from streamstack_cli.http_api import Target, connected
from streamstack_cli.running import run_calls
from streamstack_cli.stack import OptionsError
from streamstack_cli.transcript_view import printable

USAGE_PATH: Final = "/v1/usage"
MAX_REPORT_BYTES: Final = 64 * 1024 * 1024
"""Of one answer: it has a sum for every customer, day and model."""

HEADINGS: Final[tuple[str, ...]] = ("customer", "day (UTC)", "sessions", "open", "audio ms", "h:mm:ss", "characters")
LEFT: Final = 2
"""Columns of words; the others are numbers."""

Count = Annotated[int, Field(ge=0)]


class Total(BaseModel):
    """Sums over sessions. ``audio_ms`` is what is billed; ``open_sessions`` nobody has ended yet."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    sessions: Count
    open_sessions: Count
    audio_ms: Count
    transcript_characters: Count


class DayTotal(Total):
    """Sessions of a customer that began on one UTC day, and the same by model."""

    customer: str
    day: date
    models: dict[str, Total]


class Usage(BaseModel):
    """Answer to ``GET /v1/usage``; a day without sessions has no row."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    rows: tuple[DayTotal, ...]


class Report(Usage):
    """What ``--json`` prints: the rows, and the sum of all."""

    total: Total


@dataclass(frozen=True, slots=True)
class Period:
    """Days from ``first`` to ``last``, both included, in UTC. Raises OptionsError where there are none."""

    first: date
    last: date

    def __post_init__(self) -> None:
        if self.last < self.first:
            raise OptionsError(f"--to {self.last} is before --from {self.first}")


def report(authority: Target, period: Period, *, customer: str | None, as_json: bool) -> int:
    """Print what an authority bills; the exit status."""
    return run_calls(_report(authority, period, customer=customer, as_json=as_json))


async def _report(authority: Target, period: Period, *, customer: str | None, as_json: bool) -> int:
    query = {"from": period.first.isoformat(), "to": period.last.isoformat()}
    if customer is not None:
        query["customer"] = customer
    async with connected(authority) as api:
        answer = await api.get(USAGE_PATH, query=query, limit=MAX_REPORT_BYTES)
    answer.good()
    rows = answer.read(Usage).rows
    told = Report(rows=rows, total=summed(rows))
    sys.stdout.write(f"{told.model_dump_json()}\n" if as_json else table(told))
    return exit_codes.OK


def summed(totals: Sequence[Total]) -> Total:
    """Return the sum of sums."""
    return Total(
        sessions=sum(one.sessions for one in totals),
        open_sessions=sum(one.open_sessions for one in totals),
        audio_ms=sum(one.audio_ms for one in totals),
        transcript_characters=sum(one.transcript_characters for one in totals),
    )


def table(told: Report) -> str:
    """Lay out a report for people, its sum last."""
    lines = [HEADINGS]
    lines += [(printable(row.customer), row.day.isoformat(), *_numbers(row)) for row in told.rows]
    lines.append(("all", "", *_numbers(told.total)))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "".join(f"{'  '.join(_aligned(line, widths)).rstrip()}\n" for line in lines)


def _numbers(total: Total) -> tuple[str, ...]:
    minutes, seconds = divmod(total.audio_ms // 1000, 60)
    clock = f"{minutes // 60}:{minutes % 60:02}:{seconds:02}"
    counts = (total.sessions, total.open_sessions, total.audio_ms)
    return (*map(str, counts), clock, str(total.transcript_characters))


def _aligned(line: Sequence[str], widths: Iterable[int]) -> Iterable[str]:
    cells = list(zip(line, widths, strict=True))
    return chain(
        (cell.ljust(width) for cell, width in cells[:LEFT]), (cell.rjust(width) for cell, width in cells[LEFT:])
    )
