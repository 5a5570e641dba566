"""A license proxy that ends sessions itself when it has not heard of them for a moment: only an authority may."""

import time
from collections.abc import Sequence
from dataclasses import replace

from streamstack_common.usage import UsageReport
from streamstack_license_proxy.__main__ import main
from streamstack_license_proxy.journal.records import Entry
from streamstack_license_proxy.journal.store import Store, Taken

A_MOMENT_SECONDS = 1.0
FAR_AHEAD = 1000
"""Sequences: nothing the gateway says afterwards is news."""

_take = Store.take
_open: dict[str, tuple[Entry, float]] = {}


def _closing(self: Store, entries: Sequence[Entry], now_ms: int) -> Taken:
    now = time.monotonic()
    _open.update({entry.session_id: (entry, now) for entry in entries if not entry.ended})
    for entry in entries:
        if entry.ended:
            _open.pop(entry.session_id, None)
    silent = [entry for entry, heard_at in _open.values() if now - heard_at > A_MOMENT_SECONDS]
    for entry in silent:
        del _open[entry.session_id]
    taken = _take(self, entries, now_ms)
    made_up = _take(self, [_closed(entry) for entry in silent], now_ms)
    return replace(taken, new=taken.new + made_up.new)


def _closed(entry: Entry) -> Entry:
    report = UsageReport.model_validate_json(entry.body)
    return Entry.of(report.model_copy(update={"sequence": report.sequence + FAR_AHEAD, "outcome": "orphaned"}))


if __name__ == "__main__":
    Store.take = _closing  # type: ignore[method-assign]
    main()
