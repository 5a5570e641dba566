"""Arguments of ``streamstack calibrate``."""

import argparse
from pathlib import Path
from typing import Final

from streamstack_cli import engine_arguments
from streamstack_cli.arguments import Commands, command, positive, seconds, words
from streamstack_cli.stack import OptionsError, Setting, StackOptions

MAX_SESSIONS: Final = 256
OUTPUT: Final = Path("calibration.json")
STOP_GRACE_SECONDS: Final = 2.0
"""The server that was started has nobody's sessions but ours, and they are over."""

_OWN_ONLY: Final = ("model", "device", "precision", "chunk_ms", "set")
_RUNNING_ONLY: Final = ("credential_file", "ca_file", "tls")


def add(commands: Commands) -> None:
    """Add the command."""
    parser = command(
        commands,
        "calibrate",
        summary="find how many sessions at once a machine carries",
        description="Starts a speech-recognition server as a process, or takes one that runs, and looks for the most "
        "sessions at once that get their words in time: recorded speech in real time, every session begun at its own "
        "moment. Latency is counted from when the last sample of a chunk was due to be sent to when its hypothesis "
        "came, so without the chunk itself; a chunk is late when that takes longer than the chunk. Use an otherwise "
        "idle machine.",
    )
    parser.set_defaults(run=_calibrate)
    engine_arguments.add(parser)
    _add_server(parser)
    _add_target(parser)
    _add_measurement(parser)


def _add_server(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--set", action="append", default=[], metavar="asr.NAME=VALUE",
        help="any setting of the server that is started; may be repeated")  # fmt: skip
    add("--ready-timeout-seconds", type=seconds, metavar="N", help="how long the server may take to become ready")
    add("--asr", type=words, metavar="HOST:PORT", help="gRPC address of a server that runs, in place of starting one")
    add("--credential-file", type=Path, metavar="FILE", help="file with the stack's credential, for --asr")
    add("--tls", action="store_true", help="call --asr over TLS")
    add("--ca-file", type=Path, metavar="FILE", help="certificate authority of your own, PEM, for --asr over TLS")


def _add_target(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--latency-ms", type=seconds, default=300.0, metavar="N", help="what to stay within (default %(default)g)")
    add("--percentile", type=_percentile, default=95.0, metavar="P",
        help="share of chunks that has to, in percent (default %(default)g)")  # fmt: skip
    add("--late-percent", type=_late, default=0.1, metavar="P",
        help="chunks that may be late, in percent (default %(default)g)")  # fmt: skip
    add("--margin", type=_share, default=0.85, metavar="X",
        help="slots as a share of the capacity found (default %(default)g)")  # fmt: skip


def _add_measurement(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--audio", type=Path, metavar="FILE", help="speech, 16 kHz mono 16-bit WAV (default: the examples' recording)")
    add("--start", type=positive, default=1, metavar="N", help="sessions of the first level (default %(default)s)")
    add("--max-sessions", type=positive, default=MAX_SESSIONS, metavar="N",
        help="the most to try; slots of the server that is started (default %(default)s)")  # fmt: skip
    add("--max-minutes", type=seconds, default=20.0, metavar="N", help="when to stop looking (default %(default)g)")
    add("--resolution", type=_share, default=0.03, metavar="X",
        help="how exact to look, as a share of the answer (default %(default)g)")  # fmt: skip
    add("--settle-seconds", type=seconds, default=5.0, metavar="N",
        help="from the first session of a level until it counts (default %(default)g)")  # fmt: skip
    add("--seconds", type=seconds, default=10.0, metavar="N", help="what counts of a level (default %(default)g)")
    add("--turn-seconds", type=_not_negative, default=5.0, metavar="N",
        help="length of a turn; 0: turns never end (default %(default)g)")  # fmt: skip
    add("--output", type=Path, default=OUTPUT, metavar="FILE", help="what to write (default %(default)s)")


def _calibrate(arguments: argparse.Namespace) -> int:
    from streamstack_cli.calibration.command import calibrate
    from streamstack_cli.calibration.options import CalibrateOptions, OwnServer, RunningServer
    from streamstack_common.calibration import Target

    _check_server(arguments)
    server: RunningServer | OwnServer
    if arguments.asr is not None:
        server = RunningServer(
            address=arguments.asr,
            credential_file=arguments.credential_file,
            tls=arguments.tls,
            ca_file=arguments.ca_file,
        )
    else:
        server = OwnServer(_stack(arguments), engine_arguments.ready_seconds(arguments))
        engine_arguments.check(server.stack)
    options = CalibrateOptions(
        server=server,
        target=Target(
            percentile=arguments.percentile,
            latency_ms=arguments.latency_ms,
            late_chunk_rate=arguments.late_percent / 100,
        ),
        audio=arguments.audio,
        output=arguments.output,
        start=arguments.start,
        max_sessions=arguments.max_sessions,
        max_seconds=arguments.max_minutes * 60,
        resolution=arguments.resolution,
        settle_seconds=arguments.settle_seconds,
        seconds=arguments.seconds,
        turn_seconds=arguments.turn_seconds,
        margin=arguments.margin,
    )
    return calibrate(options)


def _stack(arguments: argparse.Namespace) -> StackOptions:
    return StackOptions(
        engine=arguments.engine,
        model=arguments.model,
        device=arguments.device,
        precision=arguments.precision,
        chunk_ms=arguments.chunk_ms,
        slots=arguments.max_sessions,
        stop_grace_seconds=STOP_GRACE_SECONDS,
        log_level="WARNING",
        settings=tuple(Setting.parse(text) for text in arguments.set),
    )


def _check_server(arguments: argparse.Namespace) -> None:
    """Raise OptionsError for what belongs to the other way of having a server."""
    running = arguments.asr is not None
    for name in _OWN_ONLY if running else _RUNNING_ONLY:
        if getattr(arguments, name):
            flag = f"--{name.replace('_', '-')}"
            raise OptionsError(f"{flag} is for a server that {'is started here' if running else '--asr names'}")
    if running and arguments.credential_file is None:
        raise OptionsError("--asr: expected --credential-file with the stack's credential")
    host, _, port = (arguments.asr or "").rpartition(":")
    if running and not (host and port.isdecimal()):
        raise OptionsError(f"--asr: {arguments.asr!r}: expected HOST:PORT")


def _percentile(text: str) -> float:
    return _between(text, 0, 100, "a percentage above 0 and below 100")


def _late(text: str) -> float:
    number = float(text)
    if not 0 <= number <= 100:
        raise argparse.ArgumentTypeError(f"{text}: expected a percentage from 0 to 100")
    return number


def _share(text: str) -> float:
    return 1.0 if float(text) == 1 else _between(text, 0, 1, "a share above 0, at most 1")


def _not_negative(text: str) -> float:
    number = float(text)
    if not 0 <= number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text}: expected a number of seconds, or 0")
    return number


def _between(text: str, low: float, high: float, expected: str) -> float:
    number = float(text)
    if not low < number < high:
        raise argparse.ArgumentTypeError(f"{text}: expected {expected}")
    return number
