"""Every statement on a journal's tables (``schema`` has those that make them)."""

from typing import Final

ADD_JOURNAL: Final = (
    "INSERT INTO journal (only, journal_id, acknowledged, pruned, pruned_hash, seal)"
    " VALUES (1, :journal_id, :acknowledged, :pruned, :pruned_hash, :seal)"
)
MOVE_JOURNAL: Final = (
    "UPDATE journal SET journal_id = :journal_id, acknowledged = :acknowledged, pruned = :pruned,"
    " pruned_hash = :pruned_hash, seal = :seal WHERE only = 1"
)
JOURNAL: Final = "SELECT journal_id, acknowledged, pruned, pruned_hash, seal FROM journal"

ADD_RECORD: Final = "INSERT INTO records (number, taken_ms, hash, body) VALUES (?, ?, ?, ?)"
LAST_RECORD: Final = "SELECT number, hash FROM records ORDER BY number DESC LIMIT 1"
TAKEN_MS: Final = "SELECT taken_ms FROM records WHERE number = ?"
RECORDS_FROM: Final = (
    # As bytes: what a damaged disk made of a text may be none.
    "SELECT number, taken_ms, hash, CAST(body AS BLOB) FROM records WHERE number >= ? ORDER BY number LIMIT ?"
)
PRUNABLE: Final = "SELECT number, taken_ms, hash FROM records WHERE number > ? AND number <= ? ORDER BY number"
DROP_RECORDS: Final = "DELETE FROM records WHERE number <= ?"

SESSION: Final = "SELECT sequence, digest, ended, seal FROM sessions WHERE session_id = ?"
ANY_SESSION: Final = "SELECT 1 FROM sessions LIMIT 1"
REMEMBER_SESSION: Final = (
    "INSERT INTO sessions (session_id, sequence, digest, ended, seen_ms, seal) VALUES (?, ?, ?, ?, ?, ?)"
    " ON CONFLICT (session_id) DO UPDATE SET sequence = excluded.sequence, digest = excluded.digest,"
    " ended = excluded.ended, seen_ms = excluded.seen_ms, seal = excluded.seal"
)
SESSIONS_AFTER: Final = (
    "SELECT session_id, ended, seen_ms FROM sessions WHERE session_id > ? ORDER BY session_id LIMIT ?"
)
FORGET_SESSION: Final = "DELETE FROM sessions WHERE session_id = ?"
