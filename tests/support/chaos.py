"""A chaos run: real gateways, license proxies, an authority and speech recognition, and a plan of what they suffer.

Afterwards everything is healed, the backlogs run empty, and :mod:`support.chaos_judge` says what was broken.
"""

import asyncio
import os
import random
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from support.chaos_clients import Caller, calls
from support.chaos_judge import Facts, Violation, judge, least
from support.chaos_pieces import may_mount
from support.chaos_stack import Stack, stack
from support.faults import SKEW_HOURS, Cast, Fault, Planned, everything, plan
from support.relay import Trouble

SEED_VARIABLE = "CHAOS_SEED"
CAST = Cast(
    gateways=("gateway-0", "gateway-1", "gateway-2"),
    proxies=("proxy-0", "proxy-1"),
    authority="authority",
    recognizers=("asr-0", "asr-1", "asr-2"),
)
INTERVAL_SECONDS = 2.0
SLACK_SECONDS = 2.0
"""From the moment a report is due to the disk where every core has many processes that want it; it forgives as much as
one report more. See ``chaos_judge.least``."""


def chosen_seed() -> int:
    """The environment's, or any."""
    return int(os.environ.get(SEED_VARIABLE) or random.SystemRandom().getrandbits(32))


@dataclass(frozen=True)
class Scenario:
    """A run. ``faults`` None draws them by the seed; ``modules`` runs other modules in place of some.

    ``reports_every_seconds`` is what gateways are told; they are judged by ``INTERVAL_SECONDS``.
    """

    sessions: int
    seconds: float
    longest_seconds: float = 25.0
    faults: tuple[Planned, ...] | None = None
    modules: Mapping[str, str] = field(default_factory=dict)
    reports_every_seconds: float = INTERVAL_SECONDS
    seed: int = field(
        default_factory=lambda: int(os.environ.get(SEED_VARIABLE) or random.SystemRandom().getrandbits(32))
    )


@dataclass(frozen=True)
class Outcome:
    """What a run has shown."""

    facts: Facts
    violations: tuple[Violation, ...]
    replays: int
    story: str


async def chaos(folder: Path, scenario: Scenario) -> Outcome:
    """Go through a scenario; the story of it, seed first, is printed as well."""
    print(f"{SEED_VARIABLE}={scenario.seed}")  # noqa: T201 - pytest shows it where the run fails
    chance = random.Random(scenario.seed)  # noqa: S311 - to be repeated
    faults = scenario.faults
    if faults is None:
        faults = plan(everything(CAST, disks=may_mount()), chance, seconds=scenario.seconds)
    made = calls(
        chance,
        scenario.sessions,
        seconds=scenario.seconds,
        gateways=len(CAST.gateways),
        longest=scenario.longest_seconds,
    )
    async with stack(folder, CAST, modules=scenario.modules, interval_seconds=scenario.reports_every_seconds) as it:
        callers = [Caller(call, it.gateways) for call in made]
        async with asyncio.TaskGroup() as group:
            for caller in callers:
                group.create_task(caller.make())
            for fault in faults:
                group.create_task(_suffer(it, fault))
        await it.settle()
        facts = await it.facts(callers, interval_seconds=INTERVAL_SECONDS, slack_seconds=SLACK_SECONDS)
        outcome = Outcome(facts, judge(facts), it.replays(), _story(scenario, faults, it, callers, facts))
    print(outcome.story, *outcome.violations, sep="\n")  # noqa: T201
    return outcome


async def _suffer(it: Stack, fault: Planned) -> None:
    await asyncio.sleep(fault.at_seconds)
    if isinstance(fault.what, Trouble):
        line = it.lines[fault.target]
        line.begin(fault.what)
        await asyncio.sleep(fault.hold_seconds)
        await line.mend()
        return
    piece = it.pieces[fault.target]
    async with piece.busy:
        if fault.what is Fault.STOPPED:
            await piece.freeze(fault.hold_seconds)
        elif fault.what is Fault.DISK_FULL:
            async with _full(it, fault.target):
                await asyncio.sleep(fault.hold_seconds)
        elif fault.what is Fault.KILLED_DISK_FULL:
            await piece.kill()
            async with asyncio.TaskGroup() as group, _full(it, fault.target):
                group.create_task(piece.start())
                await asyncio.sleep(fault.hold_seconds)
        else:
            await piece.kill()
            await asyncio.sleep(fault.hold_seconds)
            await piece.start(skew_hours=SKEW_HOURS.get(fault.what, 0))


@asynccontextmanager
async def _full(it: Stack, target: str) -> AsyncIterator[None]:
    it.disks[target].fill()
    try:
        yield
    finally:
        it.disks[target].free()


def _story(scenario: Scenario, faults: tuple[Planned, ...], it: Stack, callers: list[Caller], facts: Facts) -> str:
    whole = [session for session in facts.sessions if least(session, facts) == session.sent_ms]
    cut = [session for session in facts.sessions if not session.said_goodbye]
    billed = {name: bill.audio_ms for name, bill in facts.billed.items()}
    short = max((session.sent_ms - billed.get(session.session_id, 0) for session in facts.sessions), default=0)
    suffered = sorted(Counter(fault.what.value for fault in faults).items())
    refusals = sum(len(caller.refusals) for caller in callers)
    return "\n".join(
        (
            f"seed {scenario.seed}: {len(facts.sessions)} sessions, {len(cut)} cut by a gateway's death,",
            f"  {len(whole)} to be billed to the millisecond, the others at most {short} ms below what was sent",
            f"  {len(faults)} faults: {', '.join(f'{count} x {what}' for what, count in suffered)}",
            f"  {refusals} refused attempts, {sum(piece.false_starts for piece in it.pieces.values())} false starts",
            f"  {len(facts.reported)} reports, {len(facts.recorded)} recorded in {len(it.books.journals)} journals",
            f"  {it.replays()} times a session went on with another speech-recognition server",
        )
    )
