"""Commands that call others: how they end, and what people are told."""

import asyncio
import sys
from collections.abc import Coroutine

from streamstack_cli import exit_codes, files
from streamstack_cli.http_api import ApiError


def run_calls(command: Coroutine[None, None, int]) -> int:
    """Run a command to its end; its exit status."""
    try:
        return asyncio.run(command)
    except ApiError as error:
        say(str(error))
        return error.exit_status
    except files.FileError as error:
        say(str(error))
        return exit_codes.USAGE


def say(message: str) -> None:
    """Tell people on standard error."""
    sys.stderr.write(f"streamstack: {message}\n")
