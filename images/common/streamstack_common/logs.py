"""Logging for every service: plain lines, or one JSON object a line by switch.

Nothing logged may hold audio, transcripts, credentials or what could identify a speaker (invariant "sealed"):
sessions are named by their id alone.
"""

import logging
import sys

from pythonjsonlogger.json import JsonFormatter

PLAIN = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def configure(*, service: str, level: str, structured: bool) -> None:
    """Send the root logger's lines to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    if structured:
        handler.setFormatter(
            JsonFormatter(
                "%(asctime)s %(levelname)s %(name)s %(message)s",
                rename_fields={"asctime": "time", "levelname": "level", "name": "logger"},
                static_fields={"service": service},
            )
        )
    else:
        handler.setFormatter(logging.Formatter(PLAIN))
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)
