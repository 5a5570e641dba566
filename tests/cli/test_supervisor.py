"""Child processes that live and die together, with stand-ins for the services."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence

import pytest

from streamstack_cli.stack import ProcessSpec
from streamstack_cli.supervisor import MAX_LINE_BYTES, ChildError, Supervisor
from support.stack import gone

NEVER_SECONDS = 3600.0
SOON_SECONDS = 0.5

ANNOUNCE = """
import json, os, signal, subprocess, sys, time
def announce(text):
    with os.fdopen(int(os.environ["STREAMSTACK_ANNOUNCE_FD"]), "w") as pipe:
        pipe.write(text)
def say(text):
    print(text, flush=True)
"""
READY = 'announce(json.dumps({NAME: "http://here"}) + "\\n")\n'
WAIT = "signal.pause()\n"
WHEN_TOLD = "say(os.getpid())\nsignal.signal(15, lambda *_: sys.exit(9))\n"


def child(name: str, script: str, announces: Sequence[str] | None = None) -> ProcessSpec:
    return ProcessSpec(
        name=name,
        command=(sys.executable, "-I", "-S", "-c", ANNOUNCE + f"NAME = {name!r}\n" + script),
        environment={"PATH": os.environ["PATH"]},
        announces=frozenset([name] if announces is None else announces),
    )


class Log:
    """Lines of all children, in order."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []
        self._changed = asyncio.Event()

    def __call__(self, name: str, line: str) -> None:
        self.lines.append((name, line))
        self._changed.set()

    async def line(self, name: str, number: int = 0) -> str:
        """Wait for a child's line, its first when not said otherwise."""
        async with asyncio.timeout(20):
            while len(found := [line for who, line in self.lines if who == name]) <= number:
                self._changed.clear()
                await self._changed.wait()
        return found[number]


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
async def supervisor(log: Log) -> AsyncIterator[Supervisor]:
    supervisor = Supervisor(log=log, ready_timeout_seconds=60, grace_seconds=NEVER_SECONDS)
    yield supervisor
    supervisor.hurry()
    await supervisor.stop()


async def test_it_is_ready_when_every_child_has_announced_its_addresses(supervisor: Supervisor) -> None:
    addresses = await supervisor.start([child("a", READY + WAIT), child("b", READY + WAIT)])
    assert addresses == {"a": "http://here", "b": "http://here"}


async def test_children_get_the_environment_they_were_given_and_no_other(supervisor: Supervisor, log: Log) -> None:
    await supervisor.start([child("a", "say(sorted(os.environ))\n" + READY + WAIT)])
    names = eval(await log.line("a"))  # noqa: S307 - a list that our own script printed
    assert set(names) - {"LC_CTYPE"} == {"PATH", "STREAMSTACK_ANNOUNCE_FD"}


async def test_a_child_that_ends_before_it_is_ready_is_named_with_its_status_and_last_words(
    supervisor: Supervisor,
) -> None:
    with pytest.raises(ChildError, match=r"^b ended before it was ready with status 3\n  no such engine$"):
        await supervisor.start([child("a", WAIT), child("b", 'say("no such engine"); sys.exit(3)')])


async def test_a_child_that_is_killed_is_named_with_the_signal(supervisor: Supervisor) -> None:
    with pytest.raises(ChildError, match=r"^a ended before it was ready by signal SIGKILL"):
        await supervisor.start([child("a", "os.kill(os.getpid(), signal.SIGKILL)")])


async def test_children_that_never_become_ready_are_named(log: Log) -> None:
    supervisor = Supervisor(log=log, ready_timeout_seconds=SOON_SECONDS, grace_seconds=NEVER_SECONDS)
    with pytest.raises(ChildError, match=r"^slow not ready within 0\.5 seconds"):
        await supervisor.start([child("slow", WAIT)])
    assert await supervisor.stop() == ()


@pytest.mark.parametrize("text", ["", "nonsense", "[]", "{}", '{"a": 1}', '{"b": "x"}', '{"a": "x", "b": "x"}'])
async def test_an_announcement_of_something_else_is_refused(supervisor: Supervisor, text: str) -> None:
    with pytest.raises(ChildError, match=r"^a announced .*: expected a JSON object of strings with a$"):
        await supervisor.start([child("a", f"announce({text!r} + chr(10))\n" + WAIT)])


async def test_a_child_that_ends_later_is_noticed(supervisor: Supervisor, log: Log) -> None:
    await supervisor.start([child("a", READY + WAIT), child("b", WHEN_TOLD + READY + WAIT)])
    pid = int(await log.line("b"))
    os.kill(pid, signal.SIGTERM)
    async with asyncio.timeout(20):
        error = await supervisor.failure()
    assert str(error) == f"b ended with status 9\n  {pid}"


async def test_a_child_that_ends_while_others_start_ends_the_start(supervisor: Supervisor, log: Log) -> None:
    await supervisor.start([child("a", "say(os.getpid())\nsignal.signal(15, lambda *_: sys.exit(9))\n" + READY + WAIT)])
    pid = int(await log.line("a"))
    starting = asyncio.create_task(supervisor.start([child("b", 'say("here")\n' + WAIT)]))
    await log.line("b")
    os.kill(pid, signal.SIGTERM)
    with pytest.raises(ChildError, match=r"^a ended with status 9"):
        await starting


async def test_children_are_stopped_one_after_the_other_the_last_started_first(
    supervisor: Supervisor, log: Log
) -> None:
    script = "signal.signal(15, lambda *_: (say('stopping'), time.sleep(0.1), say('stopped'), sys.exit(0)))\n"
    await supervisor.start([child("a", script + READY + WAIT)])
    await supervisor.start([child("b", script + READY + WAIT)])
    assert await supervisor.stop() == ()
    assert log.lines == [("b", "stopping"), ("b", "stopped"), ("a", "stopping"), ("a", "stopped")]


async def test_a_child_that_ignores_sigterm_is_killed_after_its_grace(log: Log) -> None:
    supervisor = Supervisor(log=log, ready_timeout_seconds=60, grace_seconds=SOON_SECONDS)
    script = "signal.signal(15, signal.SIG_IGN)\nsay(os.getpid())\n" + READY
    await supervisor.start([child("deaf", script + WAIT), child("good", READY + WAIT)])
    assert await supervisor.stop() == ("deaf",)
    await gone(int(await log.line("deaf")))


async def test_who_is_in_a_hurry_does_not_wait_for_the_grace(supervisor: Supervisor, log: Log) -> None:
    await supervisor.start([child("deaf", "signal.signal(15, signal.SIG_IGN)\n" + READY + WAIT)])
    stopping = asyncio.create_task(supervisor.stop())
    supervisor.hurry()
    async with asyncio.timeout(20):
        assert await stopping == ("deaf",)


async def test_what_a_child_started_goes_with_it(supervisor: Supervisor, log: Log) -> None:
    script = f"say(subprocess.Popen([{sys.executable!r}, '-c', 'import signal; signal.pause()']).pid)\n"
    await supervisor.start([child("a", script + READY + WAIT)])
    grandchild = int(await log.line("a"))
    await supervisor.stop()
    await gone(grandchild)


async def test_the_end_of_a_child_is_noticed_while_what_it_started_holds_its_output_open(
    supervisor: Supervisor, log: Log
) -> None:
    script = f"other = subprocess.Popen([{sys.executable!r}, '-c', 'import signal; signal.pause()'])\nsay(other.pid)\n"
    await supervisor.start([child("a", script + READY + WAIT), child("b", WHEN_TOLD + script + READY + WAIT)])
    pid, grandchild = int(await log.line("b")), int(await log.line("b", 1))
    os.kill(pid, signal.SIGTERM)
    async with asyncio.timeout(20):
        assert str(await supervisor.failure()).startswith("b ended with status 9")
    await supervisor.stop()
    await gone(grandchild)


async def test_a_child_leads_a_session_of_its_own_so_that_ctrl_c_does_not_reach_it(
    supervisor: Supervisor, log: Log
) -> None:
    await supervisor.start([child("a", "say(os.getpid())\n" + READY + WAIT)])
    pid = int(await log.line("a"))
    assert os.getsid(pid) == pid


async def test_output_of_any_shape_becomes_lines(supervisor: Supervisor, log: Log) -> None:
    script = f"os.write(1, b'one\\r\\n\\xff\\n' + b'x' * {MAX_LINE_BYTES + 2} + b'\\nend'); sys.exit(1)"
    with pytest.raises(ChildError, match=r"  end$"):
        await supervisor.start([child("a", script)])
    assert log.lines[:2] == [("a", "one"), ("a", "\\xff")]
    assert "".join(line for _, line in log.lines[2:-1]) == "x" * (MAX_LINE_BYTES + 2)
    assert all(len(line) <= 2 * MAX_LINE_BYTES for _, line in log.lines)


async def test_a_start_that_is_cancelled_leaves_children_that_stop_can_find(supervisor: Supervisor, log: Log) -> None:
    starting = asyncio.create_task(supervisor.start([child("a", "say(os.getpid())\n" + WAIT)]))
    pid = int(await log.line("a"))
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    await supervisor.stop()
    await gone(pid)
