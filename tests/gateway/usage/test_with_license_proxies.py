"""Gateways and real license proxies: what a gateway accepted is what the proxies' journals hold, whatever dies."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from streamstack_common.usage import BACKLOG_PATH, UsageReport
from support.conversation import FRAME_BYTES
from support.edge import receive
from support.gateway_process import gateway_process
from support.journals import chained_bodies
from support.license_process import LicenseProcess, license_process
from support.signer import Signer
from support.waiting import eventually

NOWHERE = "english/en-default=127.0.0.1:9"
SECOND = [bytes(FRAME_BYTES)] * 10


@asynccontextmanager
async def proxies(folder: Path, count: int, *, billing: str = "usage") -> AsyncIterator[list[LicenseProcess]]:
    """Proxies that share a license, each with a journal of its own."""
    signer, now = Signer(), int(time.time())
    license_file, keys_file = folder / "license.jwt", folder / "keys.json"
    keys_file.write_bytes(signer.jwks())
    license_file.write_bytes(signer.token(nbf=now - 100, exp=now + 1000, billing=billing, models=["*"]))
    async with AsyncExitStack() as running:
        started = []
        for number in range(count):
            own = folder / f"proxy-{number}"
            own.mkdir()
            process = license_process(own, license_file=license_file, keys_file=keys_file)
            started.append(await running.enter_async_context(process))
        yield started


def state(folder: Path, number: int) -> Path:
    return folder / f"proxy-{number}" / "license-state"


def journal(folder: Path, count: int) -> list[UsageReport]:
    """What all journals hold; each one's chain verifies."""
    bodies: list[str] = []
    for number in range(count):
        if (state(folder, number) / "usage.sqlite3").exists():
            bodies += chained_bodies(state(folder, number))
    return [UsageReport.model_validate_json(body) for body in bodies]


def billed(reports: Sequence[UsageReport]) -> dict[str, tuple[int, str | None]]:
    best: dict[str, UsageReport] = {}
    for report in sorted(reports, key=lambda report: report.sequence):
        best[report.session_id] = report
    return {session_id: (report.audio_ms, report.outcome) for session_id, report in best.items()}


async def test_what_sessions_used_is_in_the_journals_though_proxies_are_killed(tmp_path: Path) -> None:
    async with (
        proxies(tmp_path, 2) as two,
        gateway_process(
            tmp_path,
            asr_pools=NOWHERE,
            license_proxy=",".join(proxy.url for proxy in two),
            environment={"USAGE_INTERVAL_SECONDS": "1"},
        ) as gateway,
        AsyncExitStack() as clients,
    ):
        await gateway.announced()
        expected = {}
        live = []
        for seconds in range(1, 6):
            client = await clients.enter_async_context(gateway.client())
            expected[(await receive(client))["id"]] = (seconds * 2000, "client_gone")
            live.append((client, seconds))
            for frame in SECOND * seconds:
                await client.send(frame)
        await eventually(lambda: has_records(two[0], 2 * len(expected)))
        two[0].kill()
        await two[0].wait()
        for client, seconds in live:
            for frame in SECOND * seconds:
                await client.send(frame)
        await clients.aclose()
        assert await gateway.stop() == 0
        assert "not delivered" not in gateway.log
        await two[1].stop()
        reports = await asyncio.to_thread(journal, tmp_path, 2)
        assert billed(reports) == expected
        # The second took over where the first was killed.
        assert {UsageReport.model_validate_json(body).session_id for body in chained_bodies(state(tmp_path, 1))} == set(
            expected
        )


async def has_records(proxy: LicenseProcess, count: int) -> bool:
    return bool((await proxy.get(BACKLOG_PATH))[1]["records"] >= count)


async def test_flat_billing_leaves_no_journal_anywhere(tmp_path: Path) -> None:
    async with (
        proxies(tmp_path, 1, billing="flat") as (proxy,),
        gateway_process(
            tmp_path, asr_pools=NOWHERE, license_proxy=proxy, environment={"USAGE_INTERVAL_SECONDS": "1"}
        ) as gateway,
    ):
        await gateway.announced()
        async with gateway.client() as client:
            await receive(client)
            for frame in SECOND:
                await client.send(frame)
        await gateway.until_metric("sessions", 0)
        assert await gateway.stop() == 0
        assert journal(tmp_path, 1) == []
