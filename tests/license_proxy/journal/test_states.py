"""Any history of reports, answers and restarts leaves what a model of a journal says, and a chain that holds."""

import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from streamstack_common.usage import UsageReport
from streamstack_license_proxy.journal import recovery
from streamstack_license_proxy.journal.reader import Reader
from streamstack_license_proxy.journal.records import Entry
from streamstack_license_proxy.journal.store import Retention, Store
from support.journals import NOW_MS, chained_bodies, damaged, entry, journal_row

HOUR_MS = 3600 * 1000
DAY_MS = 24 * HOUR_MS
RETENTION = Retention.of_days(30)

ENTRIES = st.builds(
    entry,
    st.integers(0, 3).map("session-{}".format),
    st.integers(1, 6),
    model=st.sampled_from(["english", "pro", 'a "model" \\ of \x00 é 𝄞']),
    outcome=st.sampled_from([None, None, "closed"]),
)


@dataclass
class Model:
    """A journal as its documentation has it. ``records`` are body and time, from record ``pruned`` + 1 on."""

    records: list[tuple[str, int]] = field(default_factory=list)
    acknowledged: int = 0
    pruned: int = 0
    sessions: dict[str, tuple[Entry, int]] = field(default_factory=dict)
    swept_ms: int | None = None

    @property
    def head(self) -> int:
        return self.pruned + len(self.records)

    def take(self, new: Entry, now_ms: int) -> bool:
        """Whether it may be acknowledged."""
        known = self.sessions.get(new.session_id)
        if known is not None and new.sequence <= known[0].sequence:
            return new.sequence < known[0].sequence or new.body == known[0].body
        self.records.append((new.body, now_ms))
        self.sessions[new.session_id] = (new, now_ms)
        return True

    def prune(self, now_ms: int) -> None:
        while self.pruned < self.acknowledged and self.records[0][1] <= now_ms - RETENTION.records_ms:
            self.records.pop(0)
            self.pruned += 1
        if self.swept_ms is not None and now_ms - self.swept_ms < HOUR_MS:
            return
        self.swept_ms = now_ms
        kept = {True: DAY_MS, False: 7 * DAY_MS}
        self.sessions = {
            name: (last, seen_ms)
            for name, (last, seen_ms) in self.sessions.items()
            if seen_ms > now_ms - kept[last.ended]
        }

    def renew(self) -> None:
        """Start again with what is not acknowledged."""
        left = self.records[self.acknowledged - self.pruned :]
        self.records, self.acknowledged, self.pruned, self.sessions = [], 0, 0, {}
        for body, taken_ms in left:
            self.take(Entry.of(UsageReport.model_validate_json(body)), taken_ms)


class JournalMachine(RuleBasedStateMachine):
    """Reports in any order and number, answers of an authority, time, restarts, renewals."""

    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="streamstack-test-"))
        self.now_ms = NOW_MS
        self.model = Model()
        self.open()
        self.reader = Reader(self.folder)

    def open(self) -> None:
        opened = recovery.open_journal(self.folder, self.now_ms)
        assert opened.damaged == 0
        self.store: Store = opened.store
        self.model.swept_ms = None

    @rule(reports=st.lists(ENTRIES, max_size=6))
    def take(self, reports: list[Entry]) -> None:
        before = self.model.head
        with self.store.transaction():
            taken = self.store.take(reports, self.now_ms)
        assert [reason is None for reason in taken.reasons] == [self.model.take(each, self.now_ms) for each in reports]
        assert taken.new == self.model.head - before

    @rule(reports=st.lists(ENTRIES, min_size=1, max_size=4))
    def give_up(self, reports: list[Entry]) -> None:
        """A transaction that fails leaves nothing."""

        def given_up() -> None:
            with self.store.transaction():
                self.store.take(reports, self.now_ms)
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            given_up()

    @rule(share=st.floats(0, 1))
    def answer(self, share: float) -> None:
        """The authority has any part of what is held: more than before, or less."""
        through = self.model.pruned + int(share * (self.model.head - self.model.pruned))
        with self.store.transaction():
            self.store.set_acknowledged(through)
        self.model.acknowledged = through

    @rule(hours=st.sampled_from([0, 1, 30, 24 * 8, 24 * 31]))
    def wait_and_prune(self, hours: int) -> None:
        self.now_ms += hours * HOUR_MS
        with self.store.transaction():
            self.store.prune(self.now_ms, RETENTION, limit=1000)
        self.model.prune(self.now_ms)

    @rule()
    def restart(self) -> None:
        self.reader.close()
        self.store.close()
        self.open()

    @rule()
    def renew(self) -> None:
        asides = len(damaged(self.folder))
        before = self.store.position.journal_id
        with self.reader.shut():
            self.store.close()
            recovery.renew(self.folder, self.now_ms, reason="test")
            self.open()
        self.model.renew()
        assert self.store.position.journal_id != before
        assert len(damaged(self.folder)) == min(asides + 1, 10)

    @invariant()
    def is_what_the_model_says(self) -> None:
        position, model = self.store.position, self.model
        assert (position.head, position.acknowledged, position.pruned) == (model.head, model.acknowledged, model.pruned)
        waiting = model.records[model.acknowledged - model.pruned :]
        assert position.oldest_ms == (waiting[0][1] if waiting else None)
        assert journal_row(self.folder)[:3] == (position.journal_id, model.acknowledged, model.pruned)
        assert chained_bodies(self.folder) == [body for body, _ in model.records]

    @invariant()
    def is_read_beside_the_writer(self) -> None:
        batch = self.reader.batch(None, max_records=3, max_bytes=2000)
        waiting = [body for body, _ in self.model.records[self.model.acknowledged - self.model.pruned :]]
        assert batch.first == self.model.acknowledged + 1
        assert batch.bodies == waiting[: len(batch.bodies)]
        assert bool(batch.bodies) is bool(waiting)

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            self.reader.close()
            self.store.close()
            shutil.rmtree(self.folder)


JournalMachine.TestCase.settings = settings(
    max_examples=40, stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestAnyHistory = JournalMachine.TestCase
