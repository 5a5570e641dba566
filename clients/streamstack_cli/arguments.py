"""What commands' arguments have in common: their types, and how another machine is named and trusted."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from streamstack_cli import exit_codes

if TYPE_CHECKING:
    from streamstack_cli.http_api import Target, Trust

    Commands = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001 - has no other name
else:
    Commands = object


def command(commands: Commands, name: str, *, summary: str, description: str) -> argparse.ArgumentParser:
    """Add a command that tells the exit statuses in its help."""
    return commands.add_parser(
        name,
        help=summary,
        description=description,
        epilog=exit_codes.EXPLAINED,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def add_target(parser: argparse.ArgumentParser, name: str, *, what: str, credential: str) -> None:
    """Add ``--NAME URL`` and how to get in there."""
    add = parser.add_argument
    add(f"--{name}", required=True, type=words, metavar="URL", dest="target", help=f"address of the {what}")
    add("--credential-file", required=True, type=Path, metavar="FILE", help=f"file with {credential}")
    add_trust(parser)


def add_trust(parser: argparse.ArgumentParser) -> None:
    """Add what decides whom to believe."""
    add = parser.add_argument
    add("--ca-file", type=Path, metavar="FILE", help="certificate authority of your own, PEM, for https://")
    add("--client-certificate", type=Path, metavar="FILE", help="certificate to show where one is asked for, PEM")
    add("--client-key", type=Path, metavar="FILE", help="its private key, PEM")
    add("--allow-http", action="store_true", help="without TLS to another machine, too: whoever is in between listens")


def target(arguments: argparse.Namespace) -> "Target":
    """Return what :func:`add_target` asked for. Raises OptionsError."""
    from streamstack_cli.http_api import Target

    return Target(arguments.target, arguments.credential_file, trust(arguments))


def trust(arguments: argparse.Namespace) -> "Trust":
    """Return what :func:`add_trust` asked for. Raises OptionsError."""
    from streamstack_cli.http_api import Trust

    return Trust(
        ca_file=arguments.ca_file,
        certificate_file=arguments.client_certificate,
        key_file=arguments.client_key,
        allow_http=arguments.allow_http,
    )


def words(text: str) -> str:
    """Take text that goes over a network, where bytes that are no UTF-8 cannot: Python has them as surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise argparse.ArgumentTypeError(f"{text!a}: expected UTF-8") from None
    return text


def positive(text: str) -> int:
    """Parse an integer from 1."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text}: expected at least 1")
    return number


def not_negative(text: str) -> int:
    """Parse an integer from 0."""
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"{text}: expected at least 0")
    return number


def seconds(text: str) -> float:
    """Parse a duration."""
    number = float(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text}: expected a number of seconds above 0")
    return number
