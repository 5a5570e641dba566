import json
import os
import signal
import subprocess
import sys

import pytest

from streamstack_common import process

WAITS = """
import asyncio
from streamstack_common import process
async def main():
    stop = process.stop_requested()
    process.announce(service="here")
    await stop.wait()
    print("stopped", flush=True)
asyncio.run(main())
"""


def python(code: str, **options: object) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", code], text=True, stdout=subprocess.PIPE, **options)  # type: ignore[call-overload,no-any-return]


def announcing(code: str) -> tuple[subprocess.Popen[str], dict[str, str]]:
    reader, writer = os.pipe()
    started = python(code, pass_fds=[writer], env={**os.environ, process.ANNOUNCE_FD: str(writer)})
    os.close(writer)
    with os.fdopen(reader) as pipe:
        return started, json.loads(pipe.readline())


def test_a_sealed_process_leaves_no_core_and_cannot_be_dumped() -> None:
    seen = python(
        "import ctypes, resource\n"
        "from streamstack_common import process\n"
        "process.seal()\n"
        "print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0), *resource.getrlimit(resource.RLIMIT_CORE))"
    )
    assert seen.communicate(timeout=60)[0].split() == ["0", "0", "0"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_service_announces_itself_once_and_stops_when_asked(number: signal.Signals) -> None:
    started, addresses = announcing(WAITS)
    assert addresses == {"service": "here"}
    started.send_signal(number)
    assert started.communicate(timeout=60)[0] == "stopped\n"
    assert started.returncode == 0


def test_without_a_parent_that_listens_nothing_is_announced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(process.ANNOUNCE_FD, raising=False)
    process.announce(service="here")


def test_the_announcement_is_not_handed_on_to_children(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    monkeypatch.setenv(process.ANNOUNCE_FD, str(writer))
    process.announce(service="here", port="1")
    assert process.ANNOUNCE_FD not in os.environ
    with os.fdopen(reader) as pipe:
        assert json.loads(pipe.read()) == {"service": "here", "port": "1"}


CHILD = (
    "import signal\n"
    "from streamstack_common import process\n"
    "process.die_with_parent()\n"
    "process.announce(service='here')\n"
    "signal.pause()"
)
PARENT = f"""
import os, subprocess, sys
inherited = {{int(os.environ["{process.ANNOUNCE_FD}"])}}
subprocess.Popen([sys.executable, "-c", {CHILD!r}], pass_fds=inherited)
sys.stdin.read()
"""


def test_a_service_started_by_a_parent_that_dies_goes_with_it() -> None:
    reader, writer = os.pipe()
    environment = {**os.environ, process.ANNOUNCE_FD: str(writer)}
    parent = python(PARENT, pass_fds=[writer], env=environment, stdin=subprocess.PIPE)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        assert json.loads(pipe.readline()) == {"service": "here"}
        parent.kill()
        parent.wait(60)
    # The grandchild holds the other end of the parent's output: the end of file is its death.
    assert parent.stdout is not None
    with parent.stdout as output:
        assert output.read() == ""
    assert parent.stdin is not None
    parent.stdin.close()


LIVES = "from streamstack_common import process\nprocess.die_with_parent()\nprint('lives')"


def test_a_service_whose_parent_ended_before_it_could_ask_goes_at_once() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    orphan = python(LIVES, pass_fds=[writer], env={**os.environ, process.ANNOUNCE_FD: str(writer)})
    os.close(writer)
    assert orphan.communicate(timeout=60)[0] == ""
    assert orphan.returncode == -signal.SIGTERM


@pytest.mark.parametrize(("later", "status", "said"), [(10, 0, "lives\n"), (1, -signal.SIGTERM, "")])
def test_a_parent_that_ends_while_the_kernel_is_being_asked_is_noticed(later: int, status: int, said: str) -> None:
    reader, writer = os.pipe()
    parents = f"import os\nparents = iter([10, {later}])\nos.getppid = lambda: next(parents)\n"
    child = python(parents + LIVES, pass_fds=[writer], env={**os.environ, process.ANNOUNCE_FD: str(writer)})
    os.close(writer)
    assert child.communicate(timeout=60)[0] == said
    assert child.returncode == status
    os.close(reader)


def test_in_a_container_the_parents_death_is_nothing_to_die_of() -> None:
    asked = python(
        "import ctypes\n"
        "from streamstack_common import process\n"
        "process.die_with_parent()\n"
        "number = ctypes.c_int(-1)\n"
        "ctypes.CDLL(None).prctl(2, ctypes.byref(number), 0, 0, 0)\n"
        "print(number.value)",
        env={name: value for name, value in os.environ.items() if name != process.ANNOUNCE_FD},
    )
    assert asked.communicate(timeout=60)[0] == "0\n"
