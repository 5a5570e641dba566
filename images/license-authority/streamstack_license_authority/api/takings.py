"""Taking records on behalf of a request: one transaction, counted, and every refusal in the API's form."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from streamstack_common.authority import UploadAnswer
from streamstack_license_authority.api.errors import ApiError
from streamstack_license_authority.chain import ChainError, ForkError, GapError, Run
from streamstack_license_authority.ledger.journals import ForeignJournalError, Taken, take
from streamstack_license_authority.parts import Parts, now_ms

log = logging.getLogger(__name__)


def take_run(parts: Parts, *, journal_id: str, customer: str, run: Run) -> Taken:
    """Take a run of records in one transaction, and count it."""
    with parts.database.writing() as connection:
        taken = take(connection, journal_id=journal_id, customer=customer, run=run, now_ms=now_ms())
    counted = {"accepted": taken.accepted, "duplicate": taken.duplicates, "unreadable": taken.unreadable}
    for result, number in counted.items():
        parts.metrics.records.labels(result).inc(number)
    if taken.unreadable:
        log.warning("journal %s: %d records cannot be understood and bill nothing", journal_id, taken.unreadable)
    return taken


class Conflict(UploadAnswer):
    """Answer 409: nothing was taken."""

    error: str


def conflict() -> dict[int | str, dict[str, Any]]:
    """Return OpenAPI's answer 409."""
    return {
        409: {"model": Conflict, "description": "Nothing was taken: records are missing, or known with another hash."}
    }


@contextmanager
def refusals(parts: Parts, journal_id: str) -> Iterator[None]:
    """Answer what is wrong with records, count it and log it."""
    refused = parts.metrics.refused
    try:
        yield
    except ChainError as error:
        refused.labels("broken_chain").inc()
        raise ApiError(422, f"records: {error}") from error
    except ForeignJournalError as error:
        refused.labels("foreign_journal").inc()
        raise ApiError(403, f"journal {journal_id}: expected one of the caller's own") from error
    except GapError as error:
        refused.labels("gap").inc()
        raise ApiError(409, str(error), next=error.next_number, problem="gap") from error
    except ForkError as error:
        refused.labels("fork").inc()
        log.warning("journal %s forks: %s", journal_id, error)
        raise ApiError(409, str(error), next=error.next_number, problem="fork") from error
