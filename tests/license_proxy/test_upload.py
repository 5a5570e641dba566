import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from streamstack_common.authority import MAX_RECORDS, Upload, UploadAnswer
from streamstack_common.usage import chain_start, chained
from streamstack_license_proxy import upload
from streamstack_license_proxy.authority import AuthorityError, AuthorityRefusedError, AuthorityUnreachableError
from streamstack_license_proxy.journal.store import Retention, Store
from streamstack_license_proxy.journal.usage_journal import UsageJournal
from streamstack_license_proxy.upload import Uploader
from support.journals import Clock, entries, entry
from support.waiting import Waiting


@dataclass
class Ledger(Waiting):
    """An authority as its protocol has it: takes records in order, once, and knows a gap and a fork."""

    hashes: dict[str, list[bytes]] = field(default_factory=dict)
    bodies: list[str] = field(default_factory=list)
    uploads: list[Upload] = field(default_factory=list)
    problem: AuthorityError | None = None
    answer: Callable[[Upload], UploadAnswer] | None = None
    lose_answers: int = 0

    def __post_init__(self) -> None:
        super().__init__()

    async def upload(self, journal_id: str, upload: Upload) -> UploadAnswer:
        self.uploads.append(upload)
        self.notify()
        await asyncio.sleep(0)
        if self.problem is not None:
            raise self.problem
        answer = self.answer(upload) if self.answer is not None else self._take(journal_id, upload)
        if self.lose_answers:
            self.lose_answers -= 1
            raise AuthorityUnreachableError("the answer is lost")
        return answer

    def _take(self, journal_id: str, upload: Upload) -> UploadAnswer:
        known = self.hashes.setdefault(journal_id, [chain_start(journal_id)])
        if upload.first > len(known):
            return UploadAnswer(next=len(known), problem="gap")
        if known[upload.first - 1].hex() != upload.after:
            return UploadAnswer(next=upload.first, problem="fork")
        head = known[upload.first - 1]
        for number, body in enumerate(upload.records, upload.first):
            head = chained(head, number, body)
            if number < len(known):
                if known[number] != head:
                    return UploadAnswer(next=number + 1, problem="fork")
                continue
            known.append(head)
            self.bodies.append(body)
        assert head.hex() == upload.head
        return UploadAnswer(next=len(known))

    def forget(self, journal_id: str, through: int) -> None:
        """Be put back from a copy."""
        del self.hashes[journal_id][through + 1 :]


@dataclass
class Proxy:
    journal: UsageJournal
    ledger: Ledger
    registry: CollectorRegistry
    uploader: Uploader
    active: bool = True

    def uploads(self, result: str) -> float | None:
        return self.registry.get_sample_value("streamstack_usage_uploads_total", {"result": result})


@asynccontextmanager
async def proxy_in(folder: Path, *, every_seconds: float = 0.01) -> AsyncIterator[Proxy]:
    folder.mkdir(exist_ok=True)
    journal, ledger, registry = UsageJournal.open(folder, now_ms=Clock()), Ledger(), CollectorRegistry()
    uploader = Uploader(journal, ledger, registry, active=lambda: proxy.active, every_seconds=every_seconds)
    proxy = Proxy(journal, ledger, registry, uploader)
    try:
        yield proxy
    finally:
        await journal.close()


@asynccontextmanager
async def running(proxy: Proxy) -> AsyncIterator[None]:
    task = asyncio.create_task(proxy.uploader.run())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries follow at once."""
    monkeypatch.setattr(upload, "FIRST_RETRY_SECONDS", 0.001)
    monkeypatch.setattr(upload, "LAST_RETRY_SECONDS", 0.002)


async def everything_taken(proxy: Proxy) -> None:
    async with asyncio.timeout(30):
        await proxy.journal.until(lambda position: not position.unacknowledged)


async def test_records_go_up_in_order_and_are_acknowledged(tmp_path: Path) -> None:
    async with proxy_in(tmp_path) as proxy:
        await proxy.journal.take(entries(1203))
        await proxy.uploader.attempt()
        assert proxy.ledger.bodies == [each.body for each in entries(1203)]
        assert [(each.first, len(each.records)) for each in proxy.ledger.uploads] == [(1, 500), (501, 500), (1001, 203)]
        assert proxy.journal.backlog().records == 0
        assert proxy.uploads("accepted") == 3
        await proxy.uploader.attempt()
        assert len(proxy.ledger.uploads) == 3


async def test_a_full_batch_does_not_wait_for_its_time(tmp_path: Path) -> None:
    async with proxy_in(tmp_path, every_seconds=10_000) as proxy, running(proxy):
        await asyncio.sleep(0.05)
        await proxy.journal.take(entries(MAX_RECORDS))
        await everything_taken(proxy)


async def test_a_few_records_go_up_after_a_while(tmp_path: Path) -> None:
    async with proxy_in(tmp_path) as proxy, running(proxy):
        for sequence in range(1, 4):
            await proxy.journal.take([entry(sequence=sequence)])
            await everything_taken(proxy)
        assert proxy.ledger.bodies == [each.body for each in entries(3)]


async def test_a_lost_answer_bills_nothing_twice(tmp_path: Path) -> None:
    async with proxy_in(tmp_path) as proxy:
        proxy.ledger.lose_answers = 3
        await proxy.journal.take(entries(20))
        async with running(proxy):
            await everything_taken(proxy)
        assert proxy.ledger.bodies == [each.body for each in entries(20)]
        assert proxy.uploads("unreachable") == 3


async def test_an_outage_is_said_once_and_its_end(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with proxy_in(tmp_path) as proxy:
        proxy.ledger.problem = AuthorityUnreachableError("no way to it")
        await proxy.journal.take(entries(3))
        async with running(proxy):
            await proxy.ledger.until(lambda: len(proxy.ledger.uploads) > 5)
            assert proxy.uploader.away_seconds() > 0
            assert caplog.text.count("nothing is lost: no way to it") == 1
            proxy.ledger.problem = AuthorityRefusedError("not the customer's key", status=401)
            seen = len(proxy.ledger.uploads)
            await proxy.ledger.until(lambda: len(proxy.ledger.uploads) > seen + 5)
            assert caplog.text.count("nothing is lost: not the customer's key") == 1
            proxy.ledger.problem = None
            await everything_taken(proxy)
            await proxy.journal.take(entries(1, first=4))
            await everything_taken(proxy)
            assert proxy.uploader.away_seconds() == 0
        assert caplog.text.count("usage is uploaded again") == 1
        assert (proxy.uploads("unreachable") or 0) > 4
        assert (proxy.uploads("refused") or 0) > 4


def test_retries_wait_longer_each_time_and_never_all_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()

    async def delays() -> list[float]:
        async with proxy_in(tmp_path) as proxy:
            return [proxy.uploader._retry_seconds() for _ in range(12)]

    found = asyncio.run(delays())
    for ceiling, delay in zip([1, 2, 4, 8, 16, 32, 60, 60, 60, 60, 60, 60], found, strict=True):
        assert ceiling / 2 <= delay <= ceiling
    assert len(set(found)) == 12


async def test_an_authority_that_lost_something_gets_it_again(tmp_path: Path) -> None:
    async with proxy_in(tmp_path) as proxy:
        await proxy.journal.take(entries(30))
        await proxy.uploader.attempt()
        own = proxy.journal.position.journal_id
        proxy.ledger.forget(own, 12)
        await proxy.journal.take(entries(5, first=31))
        await proxy.uploader.attempt()
        assert len(proxy.ledger.hashes[own]) == 36
        assert proxy.uploads("gap") == 1
        assert proxy.journal.position.journal_id == own


async def test_what_was_lost_and_is_not_held_any_more_starts_a_new_journal_with_the_rest(tmp_path: Path) -> None:
    async with proxy_in(tmp_path) as proxy:
        await proxy.journal.take(entries(30))
        await proxy.uploader.attempt()
        own = proxy.journal.position.journal_id

        def pruned(store: Store) -> None:
            store.prune(Clock().now_ms + 1, Retention.of_days(0), limit=20)

        await proxy.journal._done(pruned)
        proxy.ledger.forget(own, 12)
        proxy.ledger.bodies.clear()
        await proxy.journal.take(entries(1, first=31))
        await proxy.uploader.attempt()
        assert proxy.journal.position.journal_id != own
        await proxy.uploader.attempt()
        assert proxy.ledger.bodies == [each.body for each in entries(11, first=21)]


async def test_a_journal_put_back_from_a_copy_goes_on_under_another_name(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with proxy_in(tmp_path / "one") as proxy:
        await proxy.journal.take(entries(10))
        await proxy.uploader.attempt()
        ledger = proxy.ledger
        await proxy.journal.take(entries(5, first=11))
    copy = {path.name: path.read_bytes() for path in (tmp_path / "one").iterdir()}
    async with proxy_in(tmp_path / "one") as proxy:
        proxy.uploader._authority = ledger
        await proxy.journal.take(entries(5, first=16))
        await proxy.uploader.attempt()
    (tmp_path / "two").mkdir()
    for name, content in copy.items():
        (tmp_path / "two" / name).write_bytes(content)
    async with proxy_in(tmp_path / "two") as proxy:
        proxy.uploader._authority = ledger
        await proxy.journal.take([entry("session-1")])
        old = proxy.journal.position.journal_id
        await proxy.uploader.attempt()
        await proxy.uploader.attempt()
        assert proxy.journal.position.journal_id != old
        assert proxy.journal.backlog().records == 0
        assert entry("session-1").body in ledger.bodies
        assert proxy.uploads("fork") == 1
        assert "the authority" in caplog.text


@pytest.mark.parametrize(
    "answer",
    [
        lambda upload: UploadAnswer(next=upload.first),
        lambda upload: UploadAnswer(next=upload.first, problem="gap"),
        lambda upload: UploadAnswer(next=upload.first + 7, problem="gap"),
    ],
)
async def test_an_answer_that_makes_no_sense_changes_nothing(
    tmp_path: Path, answer: Callable[[Upload], UploadAnswer]
) -> None:
    async with proxy_in(tmp_path) as proxy:
        await proxy.journal.take(entries(5))
        before = proxy.journal.position
        proxy.ledger.answer = answer
        for _ in range(3):
            with pytest.raises(AuthorityError):
                await proxy.uploader.attempt()
        assert proxy.journal.position == before


async def test_an_authority_that_always_forks_makes_one_new_journal_and_no_more(tmp_path: Path) -> None:
    async with proxy_in(tmp_path) as proxy:
        await proxy.journal.take(entries(5))
        proxy.ledger.answer = lambda upload: UploadAnswer(next=upload.first, problem="fork")
        with pytest.raises(AuthorityError, match="of a journal that was just made"):
            await proxy.uploader.attempt()
        for _ in range(3):
            with pytest.raises(AuthorityError):
                await proxy.uploader.attempt()
        assert proxy.journal.counts.damaged == 1
        assert proxy.journal.backlog().records == 5


async def test_an_answer_for_part_of_it_is_taken_for_that_part(tmp_path: Path) -> None:
    async with proxy_in(tmp_path) as proxy:
        await proxy.journal.take(entries(5))
        proxy.ledger.answer = lambda upload: UploadAnswer(next=upload.first + 1)
        await proxy.uploader.attempt()
        assert [each.first for each in proxy.ledger.uploads] == [1, 2, 3, 4, 5]


async def test_nothing_goes_up_while_nobody_wants_it(tmp_path: Path) -> None:
    async with proxy_in(tmp_path) as proxy:
        proxy.active = False
        await proxy.journal.take(entries(600))
        await proxy.uploader.attempt()
        assert proxy.ledger.uploads == []
        assert proxy.uploader.away_seconds() == 0
        async with running(proxy):
            await asyncio.sleep(0.05)
            assert proxy.ledger.uploads == []
            proxy.active = True
            await everything_taken(proxy)


async def test_a_long_queue_is_warned_of_once_each_time(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with proxy_in(tmp_path) as proxy:
        proxy.ledger.problem = AuthorityUnreachableError("away")
        async with running(proxy):
            for first in range(1, 1500, 100):
                await proxy.journal.take(entries(100, first=first))
            await asyncio.sleep(0)
            assert caplog.text.count("usage records wait for the authority") == 1
            proxy.ledger.problem = None
            await everything_taken(proxy)
            proxy.ledger.problem = AuthorityUnreachableError("away")
            await proxy.journal.take(entries(1001, session="session-1"))
            await asyncio.sleep(0)
        assert caplog.text.count("1001 usage records wait for the authority") == 1
        assert caplog.text.count("usage records wait for the authority") == 2
