"""What a license proxy's usage journal takes: reports a second on one core, bytes of a session, time to recover.

    python hack/bench/usage_figures.py [--seconds 5] [--records 1000000] [--folder FOLDER]

Every commit waits for the disk of ``--folder``; the same figures mean less on another disk. The proxy, or the journal
alone, has core 0; what loads it has core 1.
"""

import argparse
import asyncio
import contextlib
import itertools
import json
import os
import secrets
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import aiohttp
import jwt
import machine
import measure
import processes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from streamstack_common.usage import UsageReport
from streamstack_license_proxy.journal import recovery
from streamstack_license_proxy.journal.records import Entry
from streamstack_license_proxy.journal.store import Retention, Store
from streamstack_license_proxy.journal.usage_journal import UsageJournal, wall_clock_ms

BATCHES: Final = (1, 20, 200)
CALLERS: Final = 32
"""Gateways that report at the same time, each waiting for its answer."""
SESSION_REPORTS: Final = 182
"""A session of 30 minutes: its start, one every 10 s, its end."""
SESSIONS: Final = 100
AT_ONCE: Final = 5_000

Send = Callable[[list[UsageReport]], Coroutine[None, None, None]]


def report(session: int, sequence: int) -> UsageReport:
    """Return a report as long as most are."""
    moment = datetime.fromtimestamp(1_800_000_000 + 10 * sequence, UTC)
    return UsageReport(
        session_id=f"00000000-0000-4000-8000-{session:012d}",
        sequence=sequence,
        started_at=datetime.fromtimestamp(1_800_000_000, UTC),
        reported_at=moment,
        model="universal-streaming-english",
        audio_ms=10_000 * sequence,
        transcript_characters=140 * sequence,
        features=("format_turns",),
    )


async def rate(send: Send, batch: int, seconds: float) -> float:
    """Return the reports that were acknowledged in a second, in batches, by all callers together."""
    numbers, done = itertools.count(), 0
    began = time.monotonic()

    async def caller() -> None:
        nonlocal done
        while time.monotonic() - began < seconds:
            number = next(numbers)
            # As gateways do: the same sessions again and again, each a step further.
            await send([report(number % 50 * batch + each, 1 + number // 50) for each in range(batch)])
            done += batch

    await asyncio.gather(*(caller() for _ in range(CALLERS)))
    return done / (time.monotonic() - began)


async def journal_alone(folder: Path, seconds: float) -> list[float]:
    """Rates of the journal in this process."""
    os.sched_setaffinity(0, {machine.SERVED_CORE})
    rates = []
    for batch in BATCHES:
        own = folder / f"alone-{batch}"
        own.mkdir()
        journal = UsageJournal.open(own)

        async def send(reports: list[UsageReport], journal: UsageJournal = journal) -> None:
            await journal.take([Entry.of(each) for each in reports])

        rates.append(await rate(send, batch, seconds))
        await journal.close()
    return rates


async def over_http(folder: Path, seconds: float) -> list[float]:
    """Rates of a real proxy, which is a process of its own."""
    os.sched_setaffinity(0, {machine.LOAD_CORE})
    rates = []
    for batch in BATCHES:
        own = folder / f"http-{batch}"
        own.mkdir()
        with proxy(own) as (url, token):
            async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as client:

                async def send(
                    reports: list[UsageReport], client: aiohttp.ClientSession = client, url: str = url
                ) -> None:
                    body = b'{"reports":[' + b",".join(each.model_dump_json().encode() for each in reports) + b"]}"
                    async with client.post(f"{url}/v1/usage", data=body) as response:
                        answer = await response.json()
                    if response.status != 200 or answer["rejected"]:
                        raise processes.ChildError(f"the proxy answered {response.status}: {answer}")

                rates.append(await rate(send, batch, seconds))
    return rates


@contextlib.contextmanager
def proxy(folder: Path) -> Iterator[tuple[str, str]]:
    """Run a license proxy on the served core with an offline license that bills usage; gives its URL and credential."""
    key, token, now = Ed25519PrivateKey.generate(), secrets.token_hex(16), int(time.time())
    claims = {
        "aud": "streamstack",
        "sub": "bench",
        "jti": "bench",
        "iat": now,
        "nbf": now - 60,
        "exp": now + 86_400,
        "billing": "usage",
        "models": ["*"],
        "trust_window_seconds": 0,
        "offline": True,
    }
    algorithm = jwt.get_algorithm_by_name("EdDSA")
    public = {**algorithm.to_jwk(key.public_key(), as_dict=True), "kid": "bench"}
    public.pop("key_ops", None)
    (folder / "license").write_text(jwt.encode(claims, key, algorithm="EdDSA", headers={"kid": "bench"}))
    (folder / "keys").write_text(json.dumps({"keys": [public]}))
    (folder / "credential").write_text(f"{token}\n")
    environment = {
        "PATH": os.environ["PATH"],
        "HOST": "127.0.0.1",
        "HTTP_PORT": "0",
        "LICENSE_FILE_PATH": str(folder / "license"),
        "LICENSE_EXTRA_KEYS_FILE": str(folder / "keys"),
        "STREAMSTACK_CREDENTIAL_FILE": str(folder / "credential"),
        "STATE_DIR": str(folder),
        "USAGE_TRACKING_API_KEY": secrets.token_hex(16),
    }
    command = [sys.executable, "-m", "streamstack_license_proxy"]
    with processes.announcing(
        "license-proxy", command, core=machine.SERVED_CORE, logs=folder, environment=environment
    ) as child:
        yield child.announced["license_proxy"], token


def fill(store: Store, sessions: int, reports: int) -> None:
    """Have sessions report side by side."""
    rows = (Entry.of(report(session, sequence)) for sequence in range(1, reports + 1) for session in range(sessions))
    while some := list(itertools.islice(rows, AT_ONCE)):
        with store.transaction():
            store.take(some, wall_clock_ms())


def session_bytes(folder: Path) -> tuple[float, float]:
    """Bytes that a session of 30 minutes takes, and what is left of it once the ledger has it and its time is over."""
    store = recovery.open_journal(folder, wall_clock_ms()).store
    fill(store, SESSIONS, SESSION_REPORTS)
    before = _used(folder, store)
    with store.transaction():
        store.set_acknowledged(store.position.head)
    later_ms, more = wall_clock_ms() + 31 * 86_400_000, True
    while more:
        with store.transaction():
            more = store.prune(later_ms, Retention.of_days(30), limit=500).more
    after = _used(folder, store)
    store.close()
    return before / SESSIONS, after / SESSIONS


def _used(folder: Path, store: Store) -> float:
    store.checkpoint()
    with contextlib.closing(sqlite3.connect(folder / "usage.sqlite3")) as connection:
        pages, size = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size"))
    return float(pages * size - store.unused_bytes())


def recovery_seconds(folder: Path, records: int) -> tuple[float, float]:
    """Seconds to open a journal of so many records, a session's worth fewer at most: all to verify, and none."""
    store = recovery.open_journal(folder, wall_clock_ms()).store
    fill(store, max(1, records // SESSION_REPORTS), SESSION_REPORTS)
    store.close()
    began = time.monotonic()
    store = recovery.open_journal(folder, wall_clock_ms()).store
    unacknowledged = time.monotonic() - began
    with store.transaction():
        store.set_acknowledged(store.position.head)
    store.close()
    began = time.monotonic()
    recovery.open_journal(folder, wall_clock_ms()).store.close()
    return unacknowledged, time.monotonic() - began


def main() -> None:
    """Measure once."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each rate")
    parser.add_argument("--records", type=int, default=1_000_000, help="to recover with")
    parser.add_argument("--folder", type=Path, help="on the disk to measure (default: the one of temporary files)")
    options = parser.parse_args()
    machine.prepare()
    print(f"{machine.describe()}; load {os.getloadavg()[0]:.1f} at the start\n")
    with tempfile.TemporaryDirectory(prefix="streamstack-bench-", dir=options.folder) as path:
        folder = Path(path)
        over = asyncio.run(over_http(folder, options.seconds))
        alone = asyncio.run(journal_alone(folder, options.seconds))
        rows = [("reports a second, fsync on", *(f"batches of {batch}" for batch in BATCHES))]
        rows += [
            ("journal alone", *(f"{each:,.0f}" for each in alone)),
            ("over HTTP", *(f"{each:,.0f}" for each in over)),
        ]
        print(measure.table(rows))
        (folder / "bytes").mkdir()
        before, after = session_bytes(folder / "bytes")
        print(f"\nbytes of a 30-minute session: {before:,.0f}, after pruning {after:,.0f}")
        (folder / "recovery").mkdir()
        waiting, taken = recovery_seconds(folder / "recovery", options.records)
        print(f"opening with {options.records:,} records: unacknowledged {waiting:.2f} s, acknowledged {taken:.3f} s")


if __name__ == "__main__":
    main()
