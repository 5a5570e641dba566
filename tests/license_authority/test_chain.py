import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamstack_license_authority.chain import LAST_NUMBER, ChainError, ForkError, GapError, Run, linked, new_of
from support.usage_journal import UsageJournal


def run_of(journal: UsageJournal, first: int, last: int) -> Run:
    return linked(
        first=first,
        after=journal.hashes[first - 1],
        head=journal.hashes[last],
        bodies=journal.bodies[first - 1 : last],
    )


@given(st.lists(st.text(max_size=20), min_size=1, max_size=8), st.data())
def test_what_is_new_starts_where_the_ledger_ends(bodies: list[str], data: st.DataObject) -> None:
    journal = UsageJournal(bodies=bodies)
    first = data.draw(st.integers(1, len(bodies)))
    run = run_of(journal, first, data.draw(st.integers(first, len(bodies))))
    next_number = data.draw(st.integers(first, len(bodies) + 1))
    known = min(run.last, next_number - 1)
    new = new_of(run, next_number=next_number, known_number=known, known_hash=journal.hashes[known])
    assert [record.number for record in new] == list(range(next_number, run.last + 1))
    assert [record.body for record in new] == bodies[next_number - 1 : run.last]
    assert [record.hash for record in new] == journal.hashes[next_number : run.last + 1]


@given(st.lists(st.text(max_size=20), min_size=2, max_size=8), st.data())
def test_a_body_changed_anywhere_breaks_the_chain(bodies: list[str], data: st.DataObject) -> None:
    journal = UsageJournal(bodies=bodies)
    changed = data.draw(st.integers(0, len(bodies) - 1))
    forged = [*bodies[:changed], bodies[changed] + "x", *bodies[changed + 1 :]]
    with pytest.raises(ChainError, match=f"record {len(bodies)} is not the head"):
        linked(first=1, after=journal.hashes[0], head=journal.hashes[-1], bodies=forged)


def test_a_number_moved_breaks_the_chain() -> None:
    journal = UsageJournal(bodies=["a", "b"])
    with pytest.raises(ChainError):
        linked(first=2, after=journal.hashes[0], head=journal.hashes[-1], bodies=journal.bodies)


def test_what_comes_too_early_names_what_is_missing() -> None:
    journal = UsageJournal(bodies=["a", "b", "c", "d"])
    with pytest.raises(GapError, match="records 2 to 3 are missing; expected them before record 4") as caught:
        new_of(run_of(journal, 4, 4), next_number=2, known_number=1, known_hash=journal.hashes[1])
    assert caught.value.next_number == 2


def test_another_history_is_a_fork_wherever_it_began() -> None:
    journal = UsageJournal(bodies=["a", "b", "c"])
    other = UsageJournal(journal.journal_id, bodies=["a", "x", "c", "d"])
    for first, last, known in [(1, 2, 2), (2, 4, 3), (3, 3, 3), (4, 4, 3)]:
        with pytest.raises(ForkError):
            new_of(run_of(other, first, last), next_number=4, known_number=known, known_hash=journal.hashes[known])


def test_the_wrong_record_is_never_compared() -> None:
    journal = UsageJournal(bodies=["a", "b"])
    with pytest.raises(ValueError, match="expected the hash of record 1"):
        new_of(run_of(journal, 1, 2), next_number=2, known_number=2, known_hash=journal.hashes[2])


def test_numbers_and_text_that_no_ledger_can_hold_are_refused() -> None:
    start = bytes(32)
    with pytest.raises(ChainError, match=str(LAST_NUMBER)):
        linked(first=LAST_NUMBER, after=start, head=start, bodies=["a", "b"])
    with pytest.raises(ChainError, match="UTF-8"):
        linked(first=1, after=start, head=start, bodies=["\ud800"])
