"""The command: a server, level after level until the search is over, and a file."""

import asyncio
import os
import signal
import sys
import tempfile
from collections.abc import Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from streamstack_cli import exit_codes, files, stack, wav
from streamstack_cli.calibration import report
from streamstack_cli.calibration.link import LinkError, Server
from streamstack_cli.calibration.load import LevelPlan, measure
from streamstack_cli.calibration.machine import this_machine
from streamstack_cli.calibration.measures import judge
from streamstack_cli.calibration.options import CalibrateOptions, OwnServer, RunningServer
from streamstack_cli.calibration.search import Search
from streamstack_cli.running import say
from streamstack_cli.supervisor import ChildError, Supervisor
from streamstack_cli.up import KILL_AFTER_SECONDS, prepare
from streamstack_common.calibration import Calibration, Level
from streamstack_common.contracts import asr_pb2
from streamstack_common.contracts.rpc import SAMPLE_RATE
from streamstack_common.credential import Credential, CredentialError
from streamstack_common.process import die_with_parent, stop_requested

RECORDING: Final = Path(__file__).parents[2] / "examples" / "recording.wav"
READABLE: Final = 0o644
"""A calibration is no secret, and a server may run as another user."""


def calibrate(options: CalibrateOptions) -> int:
    """Calibrate; the exit status. Tells each level on standard error and the outcome on standard output."""
    die_with_parent()
    try:
        pcm = _speech(options.audio)
        _check_place(options.output)
        return asyncio.run(_run(options, pcm))
    except (wav.RecordingError, files.FileError, CredentialError) as error:
        say(str(error))
        return exit_codes.USAGE
    except LinkError as error:
        say(str(error))
        return exit_codes.UNREACHABLE
    except ChildError as error:
        say(str(error))
        return exit_codes.FAILED


async def _run(options: CalibrateOptions, pcm: bytes) -> int:
    stop = stop_requested()
    if isinstance(options.server, RunningServer):
        return await _unless_stopped(stop, _calibrate(options, pcm, _running(options.server)))
    return await _with_own_server(options, options.server, pcm, stop)


async def _with_own_server(options: CalibrateOptions, own: OwnServer, pcm: bytes, stop: asyncio.Event) -> int:
    supervisor = Supervisor(
        log=_log,
        ready_timeout_seconds=own.ready_timeout_seconds,
        grace_seconds=own.stack.stop_grace_seconds + KILL_AFTER_SECONDS,
    )
    with tempfile.TemporaryDirectory(prefix="streamstack-") as path:
        folder = prepare(Path(path))

        async def work() -> int:
            say(f"starting a server with engine {own.stack.engine} and {own.stack.slots} slots")
            announced = await supervisor.start([stack.asr(own.stack, folder, os.environ)])
            server = Server(announced["asr"], Credential(folder.credential_file))
            return await _while_it_runs(supervisor, _calibrate(options, pcm, server))

        try:
            return await _unless_stopped(stop, work())
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                asyncio.get_running_loop().add_signal_handler(number, supervisor.hurry)
            await supervisor.stop()


async def _while_it_runs(supervisor: Supervisor, work: Coroutine[None, None, int]) -> int:
    """Raise ChildError when the server ends before the work does."""
    working, failing = asyncio.create_task(work), asyncio.create_task(supervisor.failure())
    try:
        await asyncio.wait({working, failing}, return_when=asyncio.FIRST_COMPLETED)
        if failing.done():
            raise failing.result()
        return working.result()
    finally:
        await _cancel(working, failing)


async def _unless_stopped(stop: asyncio.Event, work: Coroutine[None, None, int]) -> int:
    working, stopping = asyncio.create_task(work), asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else exit_codes.INTERRUPTED
    finally:
        await _cancel(working, stopping)


async def _cancel(*tasks: asyncio.Task[object]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _calibrate(options: CalibrateOptions, pcm: bytes, server: Server) -> int:
    facts = await server.describe()
    search = Search(ceiling=_ceiling(options, facts), start=options.start, resolution=options.resolution)
    levels = await _search(options, pcm, server, facts, search)
    found = report.calibration(
        server=facts,
        machine=this_machine(),
        target=options.target,
        margin=options.margin,
        search=search,
        levels=levels,
        made_at=datetime.now(UTC).replace(microsecond=0),
    )
    if found is None:
        say("not one count of sessions met the target: nothing is written")
        return exit_codes.FAILED
    _write(options.output, found)
    return exit_codes.OK


async def _search(
    options: CalibrateOptions, pcm: bytes, server: Server, facts: asr_pb2.Description, search: Search
) -> list[Level]:
    plan = LevelPlan(
        model=facts.models[0],
        pcm=pcm,
        chunk_ms=facts.chunk_ms,
        settle_seconds=options.settle_seconds,
        seconds=options.seconds,
        turn_seconds=options.turn_seconds,
        target_seconds=options.target.latency_ms / 1000,
    )
    loop = asyncio.get_running_loop()
    deadline = loop.time() + options.max_seconds
    levels: list[Level] = []
    while search.level is not None and loop.time() + plan.total_seconds <= deadline:
        level = judge(search.level, await measure(server, search.level, plan), options.target)
        levels.append(level)
        say(report.line(level))
        search.record(met=level.met)
    return levels


def _ceiling(options: CalibrateOptions, facts: asr_pb2.Description) -> int:
    """Return the most sessions to try. Raises LinkError when the server takes none."""
    if facts.free_slots < facts.slots:
        taken = facts.slots - facts.free_slots
        say(f"{taken} of the server's {facts.slots} slots are taken: what is found holds beside these sessions only")
    if not facts.free_slots or not facts.models:
        raise LinkError(f"all {facts.slots} slots of the server are taken: expected free ones")
    if facts.free_slots < options.max_sessions:
        say(f"the server has {facts.free_slots} free slots: no more sessions are tried")
    return min(options.max_sessions, facts.free_slots)


def _running(server: RunningServer) -> Server:
    roots = None
    if server.ca_file is not None:
        try:
            roots = files.read(server.ca_file, limit=1 << 20)
        except FileNotFoundError as error:
            raise files.FileError(f"{server.ca_file}: no such file") from error
    elif server.tls:
        roots = b""
    return Server(server.address, Credential(server.credential_file), roots)


def _speech(path: Path | None) -> bytes:
    if path is None and not RECORDING.exists():
        raise wav.RecordingError("--audio: no recording is installed here: expected one of yours")
    recording = wav.read(path or RECORDING)
    if recording.encoding != "pcm_s16le" or recording.sample_rate != SAMPLE_RATE:
        raise wav.RecordingError(
            f"{path}: {recording.encoding} at {recording.sample_rate} Hz: expected pcm_s16le at {SAMPLE_RATE} Hz; "
            f"{wav.HOW_TO_CONVERT}"
        )
    return recording.data


def _check_place(output: Path) -> None:
    folder = output.absolute().parent
    if not os.access(folder, os.W_OK | os.X_OK) or output.is_dir():
        raise files.FileError(f"--output: {output} cannot be written: expected a file in a folder that can")


def _write(output: Path, found: Calibration) -> None:
    files.replace(output, found.to_json(), mode=READABLE)
    sys.stdout.write(report.summary(found))
    sys.stdout.write(f"or, with everything that was measured:\n    CALIBRATION_FILE={output.absolute()}\n")
    sys.stdout.flush()


def _log(name: str, line: str) -> None:
    sys.stderr.write(f"{name} | {line}\n")
