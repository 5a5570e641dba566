"""The reporter in this process: which sessions are reported when billing changes, batches, bounds, the spool."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from streamstack_common.credential import Credential
from streamstack_common.license_status import Billing
from streamstack_common.usage import MAX_REPORTS
from streamstack_gateway.license.proxies import Proxies
from streamstack_gateway.usage import reporter, tally
from streamstack_gateway.usage.reporter import ReportPolicy, UsageReporter
from support.service import write_credential
from support.usage_sink import UsageSink, spooled, usage_sink
from support.waiting import eventually


@dataclass
class HandUsed:
    features: set[str] = field(default_factory=set)
    transcript_characters: int = 0


@dataclass
class HandSession:
    """A session whose use a test decides."""

    id: str
    started_wall_seconds: float = 1_790_000_000.0
    model: str = "universal-streaming-english"
    audio_ms: int = 0
    used: HandUsed = field(default_factory=HandUsed)
    outcome: str = ""


@dataclass
class Reporting:
    """A reporter and what the license says to it."""

    folder: Path
    sink: UsageSink
    billing: Billing | None = "usage"
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)

    def __post_init__(self) -> None:
        self.spool_file = self.folder / "usage.sqlite3"
        self.reporter = UsageReporter(
            Proxies((self.sink.url,), Credential(write_credential(self.folder))),
            self.registry,
            billing=lambda: self.billing,
            spool_file=self.spool_file,
            policy=ReportPolicy(interval_seconds=0.5, timeout_seconds=5),
        )

    def begin(self, name: str) -> HandSession:
        session = HandSession(f"session-{name}")
        self.reporter.begin(session)  # type: ignore[arg-type]  # its ``used`` is a stand-in, too
        return session

    def end(self, session: HandSession, audio_ms: int = 0) -> None:
        session.audio_ms, session.outcome = audio_ms, "terminated"
        self.reporter.over(session)  # type: ignore[arg-type]

    def metric(self, name: str) -> float | None:
        return self.registry.get_sample_value(f"streamstack_gateway_usage_{name}")


@asynccontextmanager
async def reporting(folder: Path, billing: Billing | None = "usage") -> AsyncIterator[Reporting]:
    async with usage_sink() as sink:
        it = Reporting(folder, sink, billing)
        await it.reporter.start()
        try:
            yield it
        finally:
            await it.reporter.stop(0)


async def until(holds: Callable[[], object]) -> None:
    async def told() -> bool:
        return bool(holds())

    await eventually(told)


def test_neither_begin_nor_end_needs_an_event_loop_let_alone_a_disk(tmp_path: Path) -> None:
    it = Reporting(tmp_path, UsageSink(port=9))
    session = it.begin("a")
    it.end(session, 500)
    assert it.metric("unsent_reports") == 1
    assert not it.spool_file.exists()


async def test_more_reports_than_a_batch_takes_all_arrive(tmp_path: Path) -> None:
    async with reporting(tmp_path) as it:
        await it.sink.down()
        for number in range(2 * MAX_REPORTS + 50):
            it.end(it.begin(f"{number:04}"), number)
        await until(lambda: it.metric("spooled_reports") == 2 * MAX_REPORTS + 50)
        assert it.sink.port
        await it.sink.up()
        await it.sink.until(lambda: len(it.sink.outcomes) == 2 * MAX_REPORTS + 50)
        assert it.sink.billed == {f"session-{number:04}": number for number in range(2 * MAX_REPORTS + 50)}
        assert it.sink.requests >= 3
        await until(lambda: it.metric("spooled_reports") == 0)
        assert it.metric("unsent_reports") == 0


async def test_sessions_that_began_before_billing_was_known_are_reported_when_it_is_by_usage(tmp_path: Path) -> None:
    async with reporting(tmp_path, billing=None) as it:
        ended, live = it.begin("ended"), it.begin("live")
        it.end(ended, 700)
        await until(lambda: (it.metric("oldest_unsent_seconds") or 0) > 1)
        assert it.sink.requests == 0
        assert not it.spool_file.exists()
        it.billing = "usage"
        await it.sink.until(lambda: ended.id in it.sink.outcomes)
        it.end(live, 900)
        await it.sink.until(lambda: live.id in it.sink.outcomes)
        assert it.sink.billed == {ended.id: 700, live.id: 900}


async def test_sessions_that_began_before_billing_was_known_are_forgotten_when_it_is_flat(tmp_path: Path) -> None:
    async with reporting(tmp_path, billing=None) as it:
        it.end(it.begin("ended"), 700)
        live = it.begin("live")
        it.billing = "flat"
        await until(lambda: it.metric("unsent_reports") == 0)
        it.end(live, 900)
        it.billing = "usage"
        late = it.begin("late")
        await it.sink.until(lambda: it.sink.of(late.id))
        assert set(it.sink.billed) == {late.id}


async def test_a_session_is_billed_by_the_license_it_began_under(tmp_path: Path) -> None:
    async with reporting(tmp_path) as it:
        by_usage = it.begin("by-usage")
        await it.sink.until(lambda: it.sink.of(by_usage.id))
        it.billing = "flat"
        requests = it.sink.requests
        flat = it.begin("flat")
        it.end(by_usage, 800)
        it.end(flat, 900)
        await until(lambda: (it.metric("oldest_unsent_seconds") or 0) > 1)
        assert it.sink.requests == requests
        await until(lambda: {report.session_id for report in spooled(it.spool_file)} == {by_usage.id})
        # What is left of usage billing waits for its return.
        it.billing = "usage"
        await it.sink.until(lambda: by_usage.id in it.sink.outcomes)
        assert it.sink.billed == {by_usage.id: 800}


async def test_at_the_bound_admission_closes_and_opens_when_proxies_take_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reporter, "Tally", _small_tally)
    async with reporting(tmp_path) as it:
        await it.sink.down()
        live = it.begin("live")
        for name in ("a", "b"):
            assert not it.reporter.full
            it.end(it.begin(name), 100)
        assert it.reporter.full
        it.end(live, 300)
        await it.sink.up()
        await it.sink.until(lambda: len(it.sink.outcomes) == 3)
        await until(lambda: not it.reporter.full)
        assert it.sink.billed[live.id] == 300


def _small_tally(**arguments: object) -> tally.Tally:
    return tally.Tally(**{**arguments, "max_ended": 2})  # type: ignore[arg-type]


async def test_a_spool_that_is_damaged_under_way_is_written_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with reporting(tmp_path) as it:
        await it.sink.down()
        first = [it.begin(f"{number:04}") for number in range(300)]
        await until(lambda: it.metric("spooled_reports") == 300)
        spool = it.reporter._keeper
        assert spool is not None
        assert spool._spool._database is not None
        spool._spool._database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        spool._spool._database.execute("PRAGMA shrink_memory")
        with it.spool_file.open("r+b") as file:
            file.seek(4096)
            file.write(b"\xff" * (it.spool_file.stat().st_size - 4096))
        for session in first:
            it.end(session, 100)
        await until(lambda: len(spooled(it.spool_file)) == 300)
        assert {report.outcome for report in spooled(it.spool_file)} == {"terminated"}
        assert "is set aside" in caplog.text
        await it.sink.up()
        await it.sink.until(lambda: len(it.sink.outcomes) == 300)


async def test_stopping_without_a_session_is_at_once(tmp_path: Path) -> None:
    async with reporting(tmp_path) as it:
        await it.reporter.stop(3600)
        assert it.sink.requests == 0
