"""``streamstack``: a stack on this machine and what it carries, recordings through any stack, license and usage."""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from streamstack_cli import calibrate_arguments, engine_arguments, exit_codes, license_arguments, usage_arguments
from streamstack_cli.arguments import Commands, positive, seconds, words
from streamstack_cli.stack import STOP_GRACE_SECONDS, OptionsError, Setting, StackOptions

DEFAULT_ENDPOINT = "ws://localhost:8080"
DEFAULT_TRIAL_DAYS = 30
MAXIMUM_TRIAL_DAYS = 365


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; its exit status (:mod:`streamstack_cli.exit_codes`)."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    run: Callable[[argparse.Namespace], int] = arguments.run
    try:
        return run(arguments)
    except OptionsError as error:
        parser.error(str(error))
    except KeyboardInterrupt:
        return exit_codes.INTERRUPTED


def _up(arguments: argparse.Namespace) -> int:
    from streamstack_cli.up import up

    options = StackOptions(
        engine=arguments.engine,
        model=arguments.model,
        device=arguments.device,
        precision=arguments.precision,
        chunk_ms=arguments.chunk_ms,
        calibration=arguments.calibration,
        gateway_port=arguments.gateway_port,
        slots=arguments.slots,
        capacity=arguments.capacity,
        max_sessions=arguments.max_sessions,
        max_session_seconds=arguments.max_session_seconds,
        asr_wait_seconds=arguments.asr_wait_seconds,
        stop_grace_seconds=arguments.stop_grace_seconds,
        log_level=arguments.log_level,
        structured_logs=arguments.structured_logs,
        settings=tuple(Setting.parse(text) for text in arguments.set),
    )
    engine_arguments.check(options)
    return up(options, ready_timeout_seconds=engine_arguments.ready_seconds(arguments))


def _transcribe(arguments: argparse.Namespace) -> int:
    from streamstack_cli.transcribe import TranscribeOptions, transcribe

    options = TranscribeOptions(
        file=arguments.file,
        endpoint=arguments.endpoint,
        authorization=arguments.authorization,
        speech_model=arguments.speech_model,
        language=arguments.language,
        fast=arguments.fast,
    )
    return transcribe(options)


def _trial(arguments: argparse.Namespace) -> int:
    from streamstack_cli.trial import trial

    return trial(arguments.folder, days=arguments.days)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="streamstack",
        description="Self-hosted streaming speech-to-text: a stack on this machine, recordings through any stack, "
        "licenses and usage.",
        epilog=exit_codes.EXPLAINED,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    _add_up(commands)
    _add_transcribe(commands)
    _add_trial(commands)
    calibrate_arguments.add(commands)
    license_arguments.add(commands)
    usage_arguments.add(commands)
    return parser


def _add_up(commands: Commands) -> None:
    up = commands.add_parser(
        "up",
        help="run a whole stack as processes on this machine",
        description="Runs license proxy, speech recognition and gateway as processes that listen on loopback only, "
        "with a throw-away license and credential. Prints one JSON line with the addresses once all are ready, logs to "
        "standard error, stops cleanly on SIGTERM and Ctrl-C (a second one kills).",
        epilog=exit_codes.EXPLAINED,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    up.set_defaults(run=_up)
    add = up.add_argument
    add(
        "--gateway-port", type=_port, default=0, metavar="N", help="WebSocket port; chosen by the kernel when not given"
    )
    engine_arguments.add(up)
    add("--calibration", type=Path, metavar="FILE", help="file of `streamstack calibrate`: as many slots as it says")
    add(
        "--slots",
        type=positive,
        metavar="N",
        help="sessions the speech-recognition server takes at once; for sphinx five a core unless given",
    )
    add("--capacity", type=positive, metavar="N", help="sessions a gateway is scaled for")
    add("--max-sessions", type=positive, metavar="N", help="sessions at which the gateway refuses")
    add("--max-session-seconds", type=positive, metavar="N", help="longest session")
    add("--asr-wait-seconds", type=seconds, metavar="N", help="how long a session waits for speech recognition")
    add("--stop-grace-seconds", type=seconds, default=STOP_GRACE_SECONDS, metavar="N",
        help="how long live sessions may go on after a stop (default %(default)g)")  # fmt: skip
    add("--ready-timeout-seconds", type=seconds, metavar="N",
        help=f"how long services may take to become ready (default {engine_arguments.READY_SECONDS:g}, with a model "
        f"{engine_arguments.READY_SECONDS_WITH_A_MODEL:g})")  # fmt: skip
    add("--log-level", type=str.upper, default="INFO", choices=["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"])
    add("--structured-logs", action="store_true", help="one JSON object a log line")
    add("--set", action="append", default=[], metavar="SERVICE.NAME=VALUE",
        help="any setting of a service, such as gateway.BUFFER_MEGABYTES=64; may be repeated")  # fmt: skip


def _add_transcribe(commands: Commands) -> None:
    transcribe = commands.add_parser(
        "transcribe",
        help="stream a recording and print its words",
        description="Streams a mono 16-bit PCM or mu-law WAV file (8 to 96 kHz) at the pace it was spoken. On a "
        "terminal words appear as they are heard; finished turns are lines on standard output.",
        epilog=exit_codes.EXPLAINED,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    transcribe.set_defaults(run=_transcribe)
    add = transcribe.add_argument
    add("file", type=Path, metavar="FILE")
    add(
        "--endpoint",
        type=words,
        default=DEFAULT_ENDPOINT,
        help="ws:// or wss:// address of a gateway (default %(default)s)",
    )
    add("--speech-model", type=words, help="such as universal-streaming-english; the server's default when not given")
    add("--language", type=words, help="language code, for servers that choose a model by it")
    add(
        "--authorization",
        type=words,
        default="self-hosted",
        help="value of the Authorization header (default %(default)s)",
    )
    add("--fast", action="store_true", help="as fast as the server takes it, instead of real time")


def _add_trial(commands: Commands) -> None:
    trial = commands.add_parser(
        "trial",
        help="write what Docker Compose needs to run a stack without a vendor",
        description="Writes license.jwt and license-keys.json, a license of your own that lasts some days, and .env "
        "from .env.example where there is none. Touches no file that is there.",
        epilog=exit_codes.EXPLAINED,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    trial.set_defaults(run=_trial)
    add = trial.add_argument
    add("--folder", type=Path, default=Path(), metavar="DIR", help="folder of compose.yaml (default: this one)")
    add("--days", type=_days, default=DEFAULT_TRIAL_DAYS, metavar="N", help="how long it lasts (default %(default)s)")


def _days(text: str) -> int:
    number = int(text)
    if not 1 <= number <= MAXIMUM_TRIAL_DAYS:
        raise argparse.ArgumentTypeError(f"{text}: expected 1 to {MAXIMUM_TRIAL_DAYS} days")
    return number


def _port(text: str) -> int:
    number = int(text)
    if not 0 <= number <= 65535:
        raise argparse.ArgumentTypeError(f"{text}: expected a port from 0 to 65535")
    return number


if __name__ == "__main__":
    sys.exit(main())
