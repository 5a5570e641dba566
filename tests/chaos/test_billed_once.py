"""Invariant "billed-once": two hundred calls while everything that can fail does, and every one billed once.

``CHAOS_SEED=...`` repeats the faults and calls of a run; what the machine makes of them is its own.
"""

from pathlib import Path

import pytest

from support.chaos import Scenario, chaos
from support.chaos_judge import least

SESSIONS = 200
SECONDS = 120.0


@pytest.mark.timeout(600)
async def test_every_session_is_billed_once_whatever_is_killed_stopped_cut_off_or_full(tmp_path: Path) -> None:
    outcome = await chaos(tmp_path, Scenario(sessions=SESSIONS, seconds=SECONDS))
    assert outcome.violations == (), outcome.story
    facts = outcome.facts
    assert len(facts.sessions) == SESSIONS
    to_the_millisecond = [session for session in facts.sessions if least(session, facts) == session.sent_ms]
    assert to_the_millisecond, "every session may have been cut: equality was not shown"
    assert len(to_the_millisecond) < SESSIONS, "no gateway was killed: nothing was shown"
    assert outcome.replays, "no audio was replayed to another speech-recognition server"
    assert facts.acknowledged
    assert facts.recorded
