"""What a gateway owes the license proxies: of each session the newest report, until one of them has acknowledged it.

No I/O, no clock and no task. A report is cumulative, so a newer one takes the place of one that is still unsent: memory
is bounded by sessions, not by how long proxies are away. Sequences rise with every report of a session; what is sent
again is the same report or a newer one, never an older.
"""

import heapq
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from streamstack_common.usage import UsageReport

MAX_ENDED: Final = 20_000
"""Ended sessions whose last report nobody has taken, at which no new session may begin: about 30 MB, and three hours of
a hundred sessions of a minute each. Sessions that live then still end, so at most the gateway's ``max_sessions`` more
are kept, and nothing is dropped."""

REPORT_EARLIEST: Final = 0.75
REPORT_LATEST: Final = 0.85
"""A report is made after this part of the interval since the last, by chance in between: sessions that began together
do not report together, and what passes until a proxy or the disk has it fits in the interval."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A session's use at one moment; the fields are those of a report."""

    session_id: str
    started_at: datetime
    model: str
    audio_ms: int = 0
    transcript_characters: int = 0
    features: tuple[str, ...] = ()


@dataclass(slots=True)
class _Account:
    """A session that is live, or has a report that nobody has acknowledged."""

    is_live: bool
    sequence: int = 0
    acknowledged: int = 0
    unsent: UsageReport | None = None
    made_at: float = 0.0
    """When ``unsent`` was made."""
    unsent_since: float = 0.0
    """When the first report was made that is unacknowledged."""


class Tally:
    """All sessions of a gateway that are reported.

    ``now`` is seconds of any clock that does not go back, ``wall`` the moment a report carries.

    Args:
        interval_seconds: at most this long between two reports of a live session.
        chance: from [0, 1), for the spread.
        max_ended: see ``MAX_ENDED``.

    """

    def __init__(self, *, interval_seconds: float, chance: Callable[[], float], max_ended: int = MAX_ENDED) -> None:
        self._interval_seconds = interval_seconds
        self._chance = chance
        self._max_ended = max_ended
        self._accounts: dict[str, _Account] = {}
        self._live = 0
        # In the order of their first unacknowledged reports: who waits longest is sent first.
        self._unsent: dict[str, _Account] = {}
        self._due: list[tuple[float, str]] = []
        # Of the spool: what it holds by sequence, who has a report that it lacks, and what it holds for nothing.
        self._written: dict[str, int] = {}
        self._unwritten: dict[str, None] = {}
        self._obsolete: dict[str, int] = {}

    # -------------------------------------------------------------------------------------------------------- sessions

    def begin(self, reading: Reading, *, now: float, wall: datetime) -> None:
        """A session began."""
        account = self._accounts[reading.session_id] = _Account(is_live=True)
        self._live += 1
        self._report(account, reading, None, now=now, wall=wall)
        self._schedule(reading.session_id, now)

    def due(self, now: float) -> list[str]:
        """Live sessions that have to be read now, each by one call of :meth:`interval`."""
        ids = []
        while self._due and self._due[0][0] <= now:
            session_id = heapq.heappop(self._due)[1]
            account = self._accounts.get(session_id)
            if account is not None and account.is_live:
                ids.append(session_id)
        return ids

    def interval(self, reading: Reading, *, now: float, wall: datetime) -> None:
        """A live session was read."""
        self._report(self._accounts[reading.session_id], reading, None, now=now, wall=wall)
        self._schedule(reading.session_id, now)

    def end(self, reading: Reading, outcome: str, *, now: float, wall: datetime) -> None:
        """A session ended; this is its last report."""
        account = self._accounts[reading.session_id]
        account.is_live = False
        self._live -= 1
        self._report(account, reading, outcome, now=now, wall=wall)

    def drop(self, session_ids: Iterable[str]) -> None:
        """Nobody asks for these sessions after all, live or not."""
        for session_id in session_ids:
            account = self._accounts.pop(session_id, None)
            if account is None:
                continue
            self._live -= account.is_live
            account.is_live = False
            self._unsent.pop(session_id, None)
            self._unwritten.pop(session_id, None)
            self._outlive(session_id, account.sequence)

    # --------------------------------------------------------------------------------------------------------- proxies

    def batch(self, size: int) -> list[UsageReport]:
        """Up to ``size`` unacknowledged reports, one a session, those that wait longest first."""
        reports: list[UsageReport] = []
        for account in self._unsent.values():
            if len(reports) == size:
                break
            if account.unsent is not None:
                reports.append(account.unsent)
        return reports

    def settle(self, reports: Iterable[UsageReport]) -> None:
        """A proxy has these, or can never take them: none is sent again. A newer report of a session stays."""
        for report in reports:
            account = self._unsent.pop(report.session_id, None)
            if account is None:
                continue
            account.acknowledged = max(account.acknowledged, report.sequence)
            self._outlive(report.session_id, account.acknowledged)
            if account.unsent is not None and account.unsent.sequence > account.acknowledged:
                # Made after what is settled: it waits behind those that wait longer.
                account.unsent_since = account.made_at
                self._unsent[report.session_id] = account
                continue
            account.unsent = None
            self._unwritten.pop(report.session_id, None)
            if not account.is_live:
                del self._accounts[report.session_id]

    @property
    def unsent(self) -> int:
        """Reports that no proxy has acknowledged."""
        return len(self._unsent)

    def oldest_seconds(self, now: float) -> float:
        """How long the report waits that waits longest; 0 when none does."""
        oldest = next(iter(self._unsent.values()), None)
        return 0.0 if oldest is None else max(0.0, now - oldest.unsent_since)

    @property
    def full(self) -> bool:
        """Whether so many ended sessions wait to be taken that none should begin."""
        return len(self._accounts) - self._live >= self._max_ended

    # ----------------------------------------------------------------------------------------------------------- spool

    @property
    def spooled(self) -> int:
        """Reports that the spool holds."""
        return len(self._written)

    @property
    def kept(self) -> int:
        """Unacknowledged reports that the spool holds as they are."""
        return len(self._unsent) - len(self._unwritten)

    def to_write(self, size: int, *, unsent_before: float) -> list[UsageReport]:
        """Up to ``size`` reports that the spool lacks, of sessions that wait since before then."""
        reports: list[UsageReport] = []
        for session_id in self._unwritten:
            if len(reports) == size:
                break
            account = self._unsent[session_id]
            if account.unsent is not None and account.unsent_since <= unsent_before:
                reports.append(account.unsent)
        return reports

    def written(self, reports: Iterable[UsageReport]) -> None:
        """The spool holds these now; meanwhile newer ones may have been made, and these acknowledged."""
        for report in reports:
            self._written[report.session_id] = report.sequence
            account = self._unsent.get(report.session_id)
            if account is None or account.unsent is None or account.acknowledged >= report.sequence:
                self._obsolete[report.session_id] = report.sequence
            elif account.unsent.sequence == report.sequence:
                self._unwritten.pop(report.session_id, None)

    def to_delete(self) -> dict[str, int]:
        """What the spool holds for nothing: sessions, and up to which sequence."""
        return dict(self._obsolete)

    def deleted(self, obsolete: Mapping[str, int]) -> None:
        """What :meth:`to_delete` answered is gone from the spool."""
        for session_id, sequence in obsolete.items():
            if self._written.get(session_id, sequence + 1) <= sequence:
                del self._written[session_id]
            if self._obsolete.get(session_id) == sequence:
                del self._obsolete[session_id]

    def restore(self, reports: Iterable[UsageReport], *, now: float) -> None:
        """Take up what a gateway that is gone left in the spool.

        Its sessions are gone too, but only the authority says so: their reports stay as they are.
        """
        for report in reports:
            self._written[report.session_id] = report.sequence
            if report.session_id in self._accounts:
                continue  # its own, from before the spool was closed for a while
            account = _Account(is_live=False, sequence=report.sequence, unsent=report, made_at=now, unsent_since=now)
            self._accounts[report.session_id] = self._unsent[report.session_id] = account

    def spool_lost(self) -> None:
        """The spool had to begin anew: what it held has to be written again."""
        self._written.clear()
        self._obsolete.clear()
        self._unwritten = dict.fromkeys(self._unsent)

    # ----------------------------------------------------------------------------------------------------------- inside

    def _report(self, account: _Account, reading: Reading, outcome: str | None, *, now: float, wall: datetime) -> None:
        account.sequence += 1
        account.unsent = UsageReport(
            session_id=reading.session_id,
            sequence=account.sequence,
            started_at=reading.started_at,
            reported_at=wall,
            model=reading.model,
            audio_ms=reading.audio_ms,
            transcript_characters=reading.transcript_characters,
            features=reading.features,
            outcome=outcome,
        )
        account.made_at = now
        if reading.session_id not in self._unsent:
            account.unsent_since = now
            self._unsent[reading.session_id] = account
        self._unwritten[reading.session_id] = None

    def _outlive(self, session_id: str, sequence: int) -> None:
        """Reports up to ``sequence`` are of no use in the spool either."""
        if self._written.get(session_id, sequence + 1) <= sequence:
            self._obsolete[session_id] = sequence

    def _schedule(self, session_id: str, now: float) -> None:
        part = REPORT_EARLIEST + (REPORT_LATEST - REPORT_EARLIEST) * self._chance()
        heapq.heappush(self._due, (now + self._interval_seconds * part, session_id))
