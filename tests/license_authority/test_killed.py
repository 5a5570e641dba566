"""Whatever kills the authority and whenever: what was acknowledged is there, and sending the rest again is exact."""

import asyncio
import random
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp

from support.authority_process import AuthorityProcess, Issued, authority_process
from support.usage_journal import UsageJournal, report

SESSIONS = 40
RECORDS = 800
BATCH = 7
DEATHS = 3


def journals(chance: random.Random) -> tuple[list[UsageJournal], dict[str, int]]:
    """Two proxies' journals with reports of the same sessions, and what has to be billed."""
    made, highest = [UsageJournal(), UsageJournal()], dict[str, int]()
    sequences = dict.fromkeys((f"session-{n:03}" for n in range(SESSIONS)), 0)
    for _ in range(RECORDS):
        name = chance.choice(sorted(sequences))
        sequences[name] += 1
        highest[name] = sequences[name] * 100
        chance.choice(made).append(report(name, sequence=sequences[name], audio_ms=highest[name]))
    return made, highest


async def send_all(authority: AuthorityProcess, journal: UsageJournal, issued: Issued, acknowledged: list[int]) -> None:
    """Upload batch after batch until the authority is gone; it may have taken one that it did not acknowledge."""
    while acknowledged[0] < len(journal.bodies):
        first = acknowledged[0] + 1
        body = journal.upload(first, min(first + BATCH - 1, len(journal.bodies)))
        try:
            status, answer = await authority.post(journal.path, body, token=issued.api_key)
        except aiohttp.ClientError:
            return
        assert status == 200, answer
        acknowledged[0] = answer["next"] - 1


async def test_killed_during_uploads_it_has_what_it_acknowledged_and_nothing_twice(
    tmp_path: Path, database_url: str
) -> None:
    chance = random.Random(6)  # noqa: S311 - what is sent, not a secret
    made, highest = journals(chance)
    acknowledged = [[0], [0]]
    issued: Issued | None = None
    for death in range(DEATHS + 1):
        async with AsyncExitStack() as stack:
            authority = await stack.enter_async_context(authority_process(tmp_path, DATABASE_URL=database_url))
            issued = issued or await authority.issue()
            _, listed = await authority.get("/v1/journals")
            there = {row["journal_id"]: row["next"] - 1 for row in listed["journals"]}
            for journal, (sent,) in zip(made, acknowledged, strict=True):
                assert sent <= there.get(journal.journal_id, 0) <= sent + BATCH
            sending = [
                asyncio.create_task(send_all(authority, journal, issued, sent))
                for journal, sent in zip(made, acknowledged, strict=True)
            ]
            if death < DEATHS:
                goal = acknowledged[0][0] + RECORDS // (3 * DEATHS)
                async with asyncio.timeout(120):
                    while acknowledged[0][0] < goal:  # noqa: ASYNC110 - it is another process
                        await asyncio.sleep(0.001)
                authority.kill()
                await authority.wait()
            await asyncio.gather(*sending)
            if death == DEATHS:
                billed = {name: row["audio_ms"] for name, row in (await authority.sessions()).items()}
                assert billed == highest
                _, listed = await authority.get("/v1/journals")
                assert {row["journal_id"]: row["next"] for row in listed["journals"]} == {
                    journal.journal_id: len(journal.bodies) + 1 for journal in made
                }
