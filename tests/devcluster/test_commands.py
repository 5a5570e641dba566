import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from devcluster import commands
from devcluster.commands import attempt, capture, run, shown, tail
from devcluster.errors import DevError
from support.polling import gone, wait_until

HACK = Path(commands.__file__).parent.parent

# A program with a child of its own; both their numbers are in the file it is given.
FAMILY = 'sleep 1000 & echo "$$ $!" > "$1.new"; mv "$1.new" "$1"; wait'
STUBBORN = f"trap '' TERM; (exec {FAMILY.partition(' & ')[0]}) & trap - TERM;{FAMILY.partition(' & ')[2]}"
"""The same, but the child does not end when it is asked to."""

INTERRUPTED = """
import sys
from pathlib import Path
from devcluster.commands import capture, raise_on_signals, run
from devcluster.errors import Interrupted
raise_on_signals()
try:
    run(["sh", "-c", sys.argv[1], "sh", sys.argv[2]], log=Path(sys.argv[3]))
except Interrupted as interrupted:
    print("undone after", capture(["echo", interrupted.signal_name]).strip())
"""


def family(file: Path) -> list[int]:
    return [int(word) for word in file.read_text().split()]


def test_output_goes_to_the_log_of_a_run_and_is_added_to_it(tmp_path: Path) -> None:
    log = tmp_path / "log"
    run(["sh", "-c", "echo one; echo two >&2"], log=log)
    run(["sh", "-c", "echo three"], log=log)
    assert log.read_text() == "one\ntwo\nthree\n"


def test_a_run_that_fails_says_how_and_shows_the_end_of_its_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with pytest.raises(DevError) as failed:
        run(["sh", "-c", "seq 1 100; exit 3"], log=log, do="look closely")
    assert "ended with status 3" in failed.value.what
    assert failed.value.what.splitlines()[-1].strip() == "100"
    assert "    88" not in failed.value.what
    assert failed.value.do == f"look closely ({log})"


def test_a_program_that_is_killed_is_said_to_be() -> None:
    with pytest.raises(DevError, match="was killed by SIGSEGV"):
        capture(["sh", "-c", "kill -SEGV $$"])


def test_what_a_program_says_on_standard_error_is_why_it_failed() -> None:
    with pytest.raises(DevError, match="ended with status 1: no such thing"):
        capture(["sh", "-c", "echo partly; echo no such thing >&2; exit 1"])


def test_standard_input_environment_and_folder_reach_the_program(tmp_path: Path) -> None:
    said = capture(["sh", "-c", 'cat; echo " $GREETING"; pwd'], env={"GREETING": "hello"}, stdin=b"in", cwd=tmp_path)
    assert said == f"in hello\n{tmp_path}\n"


def test_a_program_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DevError, match="`kind` is not there") as missing:
        capture(["kind"], env={"PATH": str(tmp_path)})
    assert missing.value.do == "install kind"
    assert attempt([tmp_path / "kind"])[0] == 127


def test_a_program_without_permission_is_told_from_a_missing_one(tmp_path: Path) -> None:
    program = tmp_path / "tool"
    program.write_text("#!/bin/sh\n")
    with pytest.raises(DevError, match="may not be run"):
        capture([program])


@pytest.mark.parametrize("program", [FAMILY, STUBBORN], ids=["willing", "stubborn"])
def test_what_takes_too_long_is_ended_with_its_children(tmp_path: Path, program: str) -> None:
    file = tmp_path / "family"
    with pytest.raises(DevError, match=r"took longer than 0\.5 s"):
        capture(["sh", "-c", program, "sh", file], timeout_seconds=0.5)
    wait_until(lambda: all(gone(pid) for pid in family(file)))


def test_an_attempt_answers_for_whatever_happens(tmp_path: Path) -> None:
    assert attempt(["sh", "-c", "echo out; echo err >&2; exit 4"]) == (4, "out\n", "err\n")
    status, _, errors = attempt(["sleep", "1000"], timeout_seconds=0.1)
    assert (status, "longer than 0.1 s" in errors) == (124, True)


@pytest.mark.parametrize("program", [FAMILY, STUBBORN], ids=["willing", "stubborn"])
@pytest.mark.parametrize("number", commands.SIGNALS)
def test_an_interrupt_ends_what_runs_before_it_is_told(tmp_path: Path, number: signal.Signals, program: str) -> None:
    file = tmp_path / "family"
    with subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, program, str(file), str(tmp_path / "log")],
        env={**os.environ, "PYTHONPATH": str(HACK)},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        wait_until(file.exists)
        process.send_signal(number)
        process.send_signal(number)  # a second one must not cut the undoing short
        said, _ = process.communicate(timeout=60)
    assert said == f"undone after {number.name}\n"
    assert process.returncode == 0
    wait_until(lambda: all(gone(pid) for pid in family(file)))


def test_a_program_that_is_being_started_when_the_interrupt_comes_is_ended(tmp_path: Path) -> None:
    file = tmp_path / "family"
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, f"kill -INT $PPID; {FAMILY}", str(file), str(tmp_path / "log")],
        env={**os.environ, "PYTHONPATH": str(HACK)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.stdout == "undone after SIGINT\n", done.stderr
    wait_until(lambda: not file.exists() or all(gone(pid) for pid in family(file)))


def test_long_commands_are_cut_for_people() -> None:
    assert shown(["docker", Path("build")]) == "docker build"
    assert len(shown(["x" * 500])) == 160


def test_the_tail_of_a_log_that_is_not_there_is_empty(tmp_path: Path) -> None:
    assert tail(tmp_path / "log") == ""
