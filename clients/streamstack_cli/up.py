"""``streamstack up``: the whole stack as processes on loopback, until asked to stop."""

import asyncio
import json
import os
import secrets
import signal
import socket
import sys
import tempfile
from pathlib import Path

from streamstack_cli import exit_codes, stack, throwaway_license
from streamstack_cli.supervisor import ChildError, Supervisor
from streamstack_common.process import announce, die_with_parent, stop_requested

KILL_AFTER_SECONDS = 5.0
"""What a service gets beyond the time it gives its live sessions."""

_NAME_COLUMNS = max(len(name) for name in stack.SERVICES)


def up(options: stack.StackOptions, *, ready_timeout_seconds: float) -> int:
    """Run a stack; the exit status. Prints one JSON line when every service is ready; logs go to standard error."""
    die_with_parent()
    taken = _taken(options.gateway_port)
    if taken is not None:
        _say(
            f"port {options.gateway_port} on {stack.LOOPBACK}: {taken}; "
            "choose another with --gateway-port, or leave it out to have one chosen"
        )
        return exit_codes.USAGE
    return asyncio.run(_run(options, ready_timeout_seconds))


async def _run(options: stack.StackOptions, ready_timeout_seconds: float) -> int:
    stop = stop_requested()
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, stop.set)
    supervisor = Supervisor(
        log=_raw_line if options.structured_logs else _prefixed_line,
        ready_timeout_seconds=ready_timeout_seconds,
        grace_seconds=options.stop_grace_seconds + KILL_AFTER_SECONDS,
    )
    with tempfile.TemporaryDirectory(prefix="streamstack-") as path:
        status = await _until_stopped(supervisor, options, prepare(Path(path)), stop)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, supervisor.hurry)
        killed = await supervisor.stop()
    if killed:
        _say(f"had to kill {', '.join(killed)}")
        return exit_codes.FAILED
    return status


async def _until_stopped(
    supervisor: Supervisor, options: stack.StackOptions, folder: stack.RunFolder, stop: asyncio.Event
) -> int:
    serving = asyncio.create_task(_serve(supervisor, options, folder))
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            serving.result()
    except ChildError as error:
        _say(str(error))
        return exit_codes.FAILED
    else:
        return exit_codes.OK
    finally:
        serving.cancel()
        stopping.cancel()
        await asyncio.gather(serving, stopping, return_exceptions=True)


async def _serve(supervisor: Supervisor, options: stack.StackOptions, folder: stack.RunFolder) -> None:
    """Start everything, say where it is, and raise ChildError when a service ends."""
    inside = await supervisor.start(
        [stack.license_proxy(options, folder, os.environ), stack.asr(options, folder, os.environ)]
    )
    edge = await supervisor.start([stack.gateway(options, folder, os.environ, inside)])
    facts = {
        "gateway": edge["gateway"],
        "gateway_internal": edge["gateway_internal"],
        "license_proxy": inside["license_proxy"],
        "asr": inside["asr"],
        "asr_internal": inside["internal"],
        "credential_file": str(folder.credential_file),
    }
    print(json.dumps(facts), flush=True)
    announce(**facts)
    raise await supervisor.failure()


def prepare(folder: Path) -> stack.RunFolder:
    """Write the run's secrets into a folder nobody else can enter."""
    credential_file, token_key_file = folder / "credential", folder / "token-key"
    for secret_file in (credential_file, token_key_file):
        secret_file.touch(mode=0o600)
        secret_file.write_text(secrets.token_urlsafe(32) + "\n")
    license_ = throwaway_license.make(folder)
    state_dir = folder / "state"
    state_dir.mkdir(mode=0o700)
    return stack.RunFolder(
        credential_file=credential_file,
        token_key_file=token_key_file,
        license_file=license_.license_file,
        keys_file=license_.keys_file,
        state_dir=state_dir,
    )


def _taken(port: int) -> str | None:
    """Why the gateway could not listen on ``port``, None when it could."""
    try:
        # As servers bind: SO_REUSEADDR, so that connections that wait out their TIME_WAIT do not count.
        socket.create_server((stack.LOOPBACK, port)).close()
    except OSError as error:
        return os.strerror(error.errno) if error.errno else str(error)
    return None


def _prefixed_line(name: str, line: str) -> None:
    _raw_line(name, f"{name:<{_NAME_COLUMNS}} | {line}")


def _raw_line(_name: str, line: str) -> None:
    try:
        sys.stderr.write(line + "\n")
        sys.stderr.flush()
    except BrokenPipeError:
        # Nobody reads the log any more; the stack serves on.
        return


def _say(message: str) -> None:
    _raw_line("", f"streamstack: {message}")
