from datetime import UTC, datetime

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, precondition, rule

from streamstack_common.usage import UsageReport
from streamstack_gateway.usage.tally import Reading, Tally

WALL = datetime(2026, 1, 1, 12, tzinfo=UTC)


def reading(session_id: str, audio_ms: int = 0) -> Reading:
    return Reading(session_id, WALL, "universal-streaming-english", audio_ms)


def tally(*, chance: float = 0.0, max_ended: int = 100) -> Tally:
    return Tally(interval_seconds=10, chance=lambda: chance, max_ended=max_ended)


def begun(*session_ids: str) -> Tally:
    it = tally()
    for session_id in session_ids:
        it.begin(reading(session_id), now=0, wall=WALL)
    return it


def said(reports: list[UsageReport]) -> list[tuple[str, int, int]]:
    return [(report.session_id, report.sequence, report.audio_ms) for report in reports]


def test_a_session_is_reported_at_its_begin_and_its_end_says_how_it_went() -> None:
    it = begun("session-a")
    (first,) = it.batch(10)
    assert (first.sequence, first.audio_ms, first.outcome, first.started_at) == (1, 0, None, WALL)
    it.settle([first])
    assert it.batch(10) == []
    it.end(reading("session-a", 900), "terminated", now=3, wall=WALL)
    (last,) = it.batch(10)
    assert (last.sequence, last.audio_ms, last.outcome) == (2, 900, "terminated")
    it.settle([last])
    assert it.unsent == 0


def test_reports_are_due_within_the_interval_and_spread_by_chance() -> None:
    for chance in (0.0, 0.5, 0.999):
        it = tally(chance=chance)
        it.begin(reading("session-a"), now=100, wall=WALL)
        assert it.due(107.4) == []
        assert it.due(108.5) == ["session-a"]
        assert it.due(1000) == []  # until it was read
        it.interval(reading("session-a", 9000), now=109, wall=WALL)
        assert it.due(117.5) == ["session-a"]
    early, late = tally(chance=0.0), tally(chance=0.9)
    for it in (early, late):
        it.begin(reading("session-a"), now=0, wall=WALL)
    assert early.due(7.5) == ["session-a"]
    assert late.due(7.5) == []


def test_an_ended_session_is_due_no_more() -> None:
    it = begun("session-a")
    it.end(reading("session-a", 1), "client_gone", now=1, wall=WALL)
    assert it.due(1000) == []


def test_only_the_newest_unacknowledged_report_of_a_session_is_kept() -> None:
    it = begun("session-a")
    for second in range(1, 50):
        it.interval(reading("session-a", second * 1000), now=second, wall=WALL)
    assert said(it.batch(10)) == [("session-a", 50, 49_000)]
    assert it.unsent == 1


def test_an_acknowledgement_of_an_older_report_leaves_the_newer_one_to_be_sent() -> None:
    it = begun("session-a", "session-b")
    sent = it.batch(10)
    it.interval(reading("session-a", 7000), now=7, wall=WALL)
    it.settle(sent)
    assert said(it.batch(10)) == [("session-a", 2, 7000)]
    assert it.oldest_seconds(9) == 2


def test_who_waits_longest_is_sent_first_and_its_age_is_that_of_its_first_report() -> None:
    it = begun("session-a")
    it.begin(reading("session-b"), now=5, wall=WALL)
    it.interval(reading("session-a", 10), now=9, wall=WALL)
    assert said(it.batch(1)) == [("session-a", 2, 10)]
    assert it.oldest_seconds(20) == 20
    it.settle(it.batch(1))
    assert it.oldest_seconds(20) == 15
    it.settle(it.batch(1))
    assert it.oldest_seconds(20) == 0


def test_ended_sessions_that_nobody_takes_close_admission_at_the_bound_and_none_is_dropped() -> None:
    it = tally(max_ended=3)
    for name in ("session-a", "session-b", "session-c", "session-d"):
        it.begin(reading(name), now=0, wall=WALL)
    assert not it.full
    for name in ("session-a", "session-b", "session-c"):
        assert not it.full
        it.end(reading(name, 5), "terminated", now=1, wall=WALL)
    assert it.full
    it.end(reading("session-d", 5), "terminated", now=1, wall=WALL)
    assert len(it.batch(10)) == 4
    it.settle(it.batch(2))
    assert not it.full


def test_what_is_dropped_is_owed_no_more_and_leaves_the_spool() -> None:
    it = begun("session-a", "session-b")
    it.written(it.to_write(10, unsent_before=0))
    it.drop(["session-a", "session-x"])
    assert said(it.batch(10)) == [("session-b", 1, 0)]
    assert it.to_delete() == {"session-a": 1}
    it.deleted(it.to_delete())
    assert it.spooled == 1
    assert it.due(100) == ["session-b"]


def test_only_what_waits_long_enough_is_written_and_only_once() -> None:
    it = begun("session-a")
    assert it.to_write(10, unsent_before=-1) == []
    reports = it.to_write(10, unsent_before=0)
    assert said(reports) == [("session-a", 1, 0)]
    it.written(reports)
    assert it.to_write(10, unsent_before=100) == []
    assert (it.spooled, it.kept) == (1, 1)
    it.interval(reading("session-a", 9000), now=9, wall=WALL)
    assert it.kept == 0
    # It waits since its first report, so the newer one is written at once.
    assert said(it.to_write(10, unsent_before=0)) == [("session-a", 2, 9000)]


def test_what_was_acknowledged_while_it_was_being_written_is_deleted_again() -> None:
    it = begun("session-a")
    writing = it.to_write(10, unsent_before=0)
    it.settle(it.batch(10))
    it.written(writing)
    assert it.to_delete() == {"session-a": 1}
    it.deleted({"session-a": 1})
    assert it.spooled == 0
    assert it.to_delete() == {}


def test_a_report_made_while_an_older_one_was_being_written_is_written_next() -> None:
    it = begun("session-a")
    writing = it.to_write(10, unsent_before=0)
    it.interval(reading("session-a", 9000), now=9, wall=WALL)
    it.written(writing)
    assert said(it.to_write(10, unsent_before=0)) == [("session-a", 2, 9000)]


def test_a_lost_spool_is_written_anew() -> None:
    it = begun("session-a", "session-b")
    it.written(it.to_write(10, unsent_before=0))
    it.settle(it.batch(1))
    it.spool_lost()
    assert it.to_delete() == {}
    assert said(it.to_write(10, unsent_before=0)) == [("session-b", 1, 0)]


def test_what_an_earlier_process_left_is_sent_as_it_is_and_then_deleted() -> None:
    before = begun("session-a")
    before.interval(reading("session-a", 9000), now=9, wall=WALL)
    left = before.to_write(10, unsent_before=9)
    after = tally()
    after.restore(left, now=0)
    assert after.batch(10) == left
    assert after.due(1000) == []
    assert after.to_write(10, unsent_before=100) == []
    after.settle(left)
    assert after.to_delete() == {"session-a": 2}
    assert after.unsent == 0


class UsageLife(RuleBasedStateMachine):
    """Gateways, one after the other, against what a client's clock says, a lossy network and a disk.

    ``accepted`` is what each session's clock came to; ``ledger`` bills the report with the highest sequence.
    """

    live = Bundle("live")

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.sessions = 0
        self.accepted: dict[str, int] = {}
        self.acknowledged: dict[str, UsageReport] = {}
        self.ledger: dict[str, UsageReport] = {}
        self.spool: dict[str, UsageReport] = {}
        self.killed: set[str] = set()
        self.made: dict[tuple[str, int], UsageReport] = {}
        self.last_sent: dict[str, int] = {}
        self.spool_is_exact = True
        self.in_flight: list[UsageReport] = []
        self._start()

    def _start(self) -> None:
        self.tally = tally()
        self.running: set[str] = set()
        self.in_flight = []
        self.last_sent = {}
        self.tally.restore(list(self.spool.values()), now=self.now)

    @rule(target=live)
    def begin(self) -> str:
        self.sessions += 1
        session_id = f"session-{self.sessions}"
        self.accepted[session_id] = 0
        self.running.add(session_id)
        self.tally.begin(reading(session_id), now=self.now, wall=WALL)
        return session_id

    @rule(session_id=live, ms=st.integers(0, 5000))
    def speak(self, session_id: str, ms: int) -> None:
        if session_id in self.running:
            self.accepted[session_id] += ms

    @rule(seconds=st.sampled_from([0.25, 5.0, 10.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        for session_id in self.tally.due(self.now):
            assert session_id in self.running
            self.tally.interval(reading(session_id, self.accepted[session_id]), now=self.now, wall=WALL)

    @rule(session_id=consumes(live))
    def end(self, session_id: str) -> None:
        if session_id in self.running:
            self.running.remove(session_id)
            self.tally.end(reading(session_id, self.accepted[session_id]), "terminated", now=self.now, wall=WALL)

    @precondition(lambda self: not self.in_flight)
    @rule(size=st.integers(1, 4))
    def send(self, size: int) -> None:
        self.in_flight = self.tally.batch(size)
        assert len({report.session_id for report in self.in_flight}) == len(self.in_flight)
        for report in self.in_flight:
            # A sequence says the same thing for ever, whoever sends it.
            assert self.made.setdefault((report.session_id, report.sequence), report) == report
            assert report.sequence >= self.last_sent.get(report.session_id, 0)
            self.last_sent[report.session_id] = report.sequence
            assert report.audio_ms <= self.accepted[report.session_id]
            acknowledged = self.acknowledged.get(report.session_id)
            if acknowledged is not None and (self.spool_is_exact or report.session_id not in self.killed):
                assert report.sequence > acknowledged.sequence
                assert report.audio_ms >= acknowledged.audio_ms

    @precondition(lambda self: self.in_flight)
    @rule(arrives=st.booleans(), is_answered=st.booleans())
    def answer(self, arrives: bool, is_answered: bool) -> None:
        """Lost on the way there, lost on the way back, or acknowledged."""
        if arrives:
            for report in self.in_flight:
                before = self.ledger.get(report.session_id)
                if before is None or report.sequence > before.sequence:
                    self.ledger[report.session_id] = report
        if arrives and is_answered:
            for report in self.in_flight:
                self.acknowledged[report.session_id] = report
            self.tally.settle(self.in_flight)
        self.in_flight = []

    @rule(size=st.integers(1, 4), age=st.sampled_from([0.0, 1.0, 8.0]))
    def write(self, size: int, age: float) -> None:
        reports = self.tally.to_write(size, unsent_before=self.now - age)
        for report in reports:
            assert self.spool.get(report.session_id) is None or (
                self.spool[report.session_id].sequence < report.sequence
            )
            self.spool[report.session_id] = report
        self.tally.written(reports)

    @rule()
    def delete(self) -> None:
        obsolete = self.tally.to_delete()
        for session_id, sequence in obsolete.items():
            if self.spool[session_id].sequence <= sequence:
                del self.spool[session_id]
        self.tally.deleted(obsolete)

    @rule()
    def kill(self) -> None:
        """SIGKILL: what is in memory is gone; what was acknowledged may still be in the spool."""
        self.killed |= self.running
        self.spool_is_exact = self.spool_is_exact and not self.tally.to_delete()
        self.killed |= set(self.spool)
        self._start()

    @invariant()
    def billed_once(self) -> None:
        for session_id, report in self.ledger.items():
            acknowledged = self.acknowledged.get(session_id)
            assert report.audio_ms <= self.accepted[session_id]
            assert acknowledged is None or acknowledged.audio_ms <= report.audio_ms

    @invariant()
    def nothing_is_owed_that_was_settled(self) -> None:
        assert self.tally.spooled == len(self.spool)
        assert self.tally.unsent <= self.sessions
        assert self.tally.kept <= self.tally.spooled

    def teardown(self) -> None:
        """Everything that ends well is billed in full once proxies take it."""
        for session_id in sorted(self.running):
            self.tally.end(reading(session_id, self.accepted[session_id]), "terminated", now=self.now, wall=WALL)
        ended_here = set(self.running)
        while batch := self.tally.batch(3):
            for report in batch:
                before = self.ledger.get(report.session_id)
                if before is None or report.sequence > before.sequence:
                    self.ledger[report.session_id] = report
            self.tally.settle(batch)
        self.delete()
        assert not self.spool
        assert (self.tally.unsent, self.tally.spooled) == (0, 0)
        for session_id in ended_here:
            assert self.ledger[session_id].audio_ms == self.accepted[session_id]


UsageLife.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestUsageLife = UsageLife.TestCase
