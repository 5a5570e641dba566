"""Whatever arrives in whatever order, any number of times: billed is the highest value that was ever told, once."""

import secrets
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from sqlalchemy.engine import make_url

from streamstack_license_authority.chain import ForkError, GapError, linked
from streamstack_license_authority.ledger.database import Database
from streamstack_license_authority.ledger.journals import ForeignJournalError, Taken, list_journals, take
from streamstack_license_authority.ledger.sessions import close_orphans
from streamstack_license_authority.ledger.usage import billed_sessions, totals
from support.usage_journal import STARTED_AT, UsageJournal, report

SESSIONS = ("session-a", "session-b")
JOURNALS = 2
UNREADABLE = ("", "{}", '{"session_id": "session-a", "sequence": 1}', "\x00", '{"audio_ms": 99999999}', "[" * 4000)
ORPHAN_AFTER_MS = 100


@dataclass(frozen=True)
class Modelled:
    """What the ledger must say of a session."""

    audio_ms: int = 0
    sequence: int = 0
    outcome: str | None = None
    closed_by: str | None = None
    heard_at_ms: int = 0
    journals: frozenset[str] = frozenset()


@dataclass
class ModelledJournal:
    """A journal, what each record says, and how much of it was taken."""

    records: UsageJournal
    said: list[tuple[str, int, int, str | None] | None] = field(default_factory=list)
    taken: int = 0


class LedgerMachine(RuleBasedStateMachine):
    """Uploads from several journals against a dictionary."""

    def __init__(self, database: Database) -> None:
        super().__init__()
        self.database = database
        self.now_ms = int(STARTED_AT.timestamp() * 1000) + 1_000_000
        # What earlier runs left in the ledger is another customer's.
        self.customer = secrets.token_hex(8)
        self.journals = [ModelledJournal(UsageJournal()) for _ in range(JOURNALS)]
        self.sessions: dict[str, Modelled] = {}

    @rule(
        journal=st.integers(0, JOURNALS - 1),
        session=st.sampled_from(SESSIONS),
        sequence=st.integers(1, 3),
        audio_ms=st.integers(0, 50),
        ended=st.booleans(),
        sent=st.booleans(),
    )
    def report(self, journal: int, session: str, sequence: int, audio_ms: int, *, ended: bool, sent: bool) -> None:
        """A proxy writes a report, of whatever order: the ledger may rely on nothing."""
        mine, outcome = self.journals[journal], f"ended-{sequence}" if ended else None
        mine.records.append(report(session, sequence=sequence, audio_ms=audio_ms, outcome=outcome))
        mine.said.append((session, sequence, audio_ms, outcome))
        if sent:
            self._upload(mine, 1, len(mine.said))

    @rule(journal=st.integers(0, JOURNALS - 1), body=st.sampled_from(UNREADABLE))
    def write_what_nobody_understands(self, journal: int, body: str) -> None:
        self.journals[journal].records.append(body)
        self.journals[journal].said.append(None)

    @precondition(lambda self: any(mine.said for mine in self.journals))
    @rule(data=st.data(), later_ms=st.integers(0, 30))
    def upload(self, data: st.DataObject, later_ms: int) -> None:
        """Any piece of a journal, whether known, new or too early."""
        mine = data.draw(st.sampled_from([mine for mine in self.journals if mine.said]))
        first = data.draw(st.integers(1, len(mine.said)), label="first")
        last = data.draw(st.integers(first, len(mine.said)), label="last")
        self.now_ms += later_ms
        self._upload(mine, first, last)

    @precondition(lambda self: any(mine.taken for mine in self.journals))
    @rule(data=st.data())
    def upload_a_fork(self, data: st.DataObject) -> None:
        """A copy of a journal that went its own way before what is known ends."""
        mine = data.draw(st.sampled_from([mine for mine in self.journals if mine.taken]))
        forked_at = data.draw(st.integers(1, mine.taken), label="forked_at")
        fork = UsageJournal(mine.records.journal_id, list(mine.records.bodies[: forked_at - 1]))
        fork.append(report("session-a", sequence=9, audio_ms=10**9))
        fork.append(*mine.records.bodies[forked_at:])
        first = data.draw(st.integers(1, min(mine.taken + 1, len(fork.bodies))), label="first")
        last = data.draw(st.integers(max(first, forked_at), len(fork.bodies)), label="last")
        with pytest.raises(ForkError) as forked:
            self._take(fork, first, last)
        assert forked.value.next_number == mine.taken + 1

    @precondition(lambda self: any(mine.taken for mine in self.journals))
    @rule(data=st.data())
    def upload_by_somebody_else(self, data: st.DataObject) -> None:
        mine = data.draw(st.sampled_from([mine for mine in self.journals if mine.taken]))
        with pytest.raises(ForeignJournalError):
            self._take(mine.records, 1, 1, customer="somebody else")

    @precondition(lambda self: any(known.closed_by is None for known in self.sessions.values()))
    @rule(later_ms=st.integers(0, 150))
    def close_what_nobody_ends(self, later_ms: int) -> None:
        self.now_ms += later_ms
        expected = {
            name for name, known in self.sessions.items()
            if known.closed_by is None and known.heard_at_ms < self.now_ms - ORPHAN_AFTER_MS
        }  # fmt: skip
        with self.database.writing() as connection:
            close_orphans(connection, heard_before_ms=self.now_ms - ORPHAN_AFTER_MS, now_ms=self.now_ms)
        for name in expected:
            self.sessions[name] = replace(self.sessions[name], closed_by="authority")

    @invariant()
    def bills_what_the_model_says(self) -> None:
        with self.database.reading() as connection:
            rows = billed_sessions(connection, customer=self.customer, day=None, after="", limit=10)
            sums = totals(connection, first=STARTED_AT.date(), last=STARTED_AT.date(), customer=self.customer, limit=10)
            journals = list_journals(connection, customer=self.customer, after="", limit=10)
        found = {
            row.session_id: Modelled(
                row.audio_ms, row.sequence, row.outcome, row.closed_by, row.heard_at_ms, frozenset(row.journals)
            )
            for row in rows
        }
        assert found == self.sessions
        assert sum(one.audio_ms for one in sums) == sum(known.audio_ms for known in self.sessions.values())
        assert {row.journal_id: (row.next_number, row.unreadable_records) for row in journals} == {
            one.records.journal_id: (one.taken + 1, sum(said is None for said in one.said[: one.taken]))
            for one in self.journals
            if one.taken
        }

    def _upload(self, mine: ModelledJournal, first: int, last: int) -> None:
        if first > mine.taken + 1:
            with pytest.raises(GapError) as gap:
                self._take(mine.records, first, last)
            assert gap.value.next_number == mine.taken + 1
            return
        new = max(0, last - mine.taken)
        taken = self._take(mine.records, first, last)
        unreadable = sum(said is None for said in mine.said[last - new : last])
        assert taken == Taken(new, last - first + 1 - new, unreadable, max(mine.taken, last) + 1)
        for said in mine.said[mine.taken : last]:
            if said is not None:
                self._heard(mine.records.journal_id, *said)
        mine.taken = max(mine.taken, last)

    def _take(self, records: UsageJournal, first: int, last: int, *, customer: str | None = None) -> Taken:
        body = records.upload(first, last)
        run = linked(
            first=first,
            after=bytes.fromhex(body["after"]),
            head=bytes.fromhex(body["head"]),
            bodies=body["records"],
        )
        with self.database.writing() as connection:
            owner = customer or self.customer
            return take(connection, journal_id=records.journal_id, customer=owner, run=run, now_ms=self.now_ms)

    def _heard(self, journal_id: str, session: str, sequence: int, audio_ms: int, outcome: str | None) -> None:
        known = self.sessions.get(session, Modelled())
        if sequence > known.sequence:
            closed_by = "gateway" if outcome else None
            known = replace(known, sequence=sequence, outcome=outcome, closed_by=closed_by)
        self.sessions[session] = replace(
            known,
            audio_ms=max(known.audio_ms, audio_ms),
            heard_at_ms=self.now_ms,
            journals=known.journals | {journal_id},
        )


def test_billed_is_the_highest_value_ever_told_and_nothing_twice(database_url: str) -> None:
    database = Database(make_url(database_url))
    database.prepare()
    try:
        run_state_machine_as_test(
            lambda: LedgerMachine(database),
            settings=settings(max_examples=40, stateful_step_count=30, deadline=None),
        )
    finally:
        database.close()
