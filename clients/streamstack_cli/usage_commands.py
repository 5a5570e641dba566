"""``streamstack usage`` at a license proxy: usage out of it as a file, and an authority's receipt back to it."""

import sys
from pathlib import Path
from typing import Final

from streamstack_cli import exit_codes, files, usage_files
from streamstack_cli.http_api import Target, connected
from streamstack_cli.running import run_calls, say
from streamstack_common.authority import MAX_ANSWER_BYTES
from streamstack_common.usage import UsageBacklog
from streamstack_common.usage_export import EXPORT_PATH, MAX_EXPORT_RECORDS, RECEIPTS_PATH, ExportError

JWT_TYPE: Final = "application/jwt"


def export(proxy: Target, *, out: Path, after: int | None, limit: int = MAX_EXPORT_RECORDS) -> int:
    """Write a proxy's usage into a file that was checked whole; the exit status.

    ``after`` leaves out records up to that number; None: those that the proxy knows the authority to have.
    """
    return run_calls(_export(proxy, out=out, after=after, limit=limit))


def hand_back(proxy: Target, receipt: Path) -> int:
    """Give a proxy the receipt of an import, so that it may forget what the authority has; the exit status."""
    return run_calls(_hand_back(proxy, receipt))


async def _export(proxy: Target, *, out: Path, after: int | None, limit: int) -> int:
    files.check_new(out)
    query = {"limit": str(limit)} | ({} if after is None else {"after": str(after)})
    try:
        async with connected(proxy) as api:
            with files.new_file(out) as file:
                await api.download(EXPORT_PATH, file, query=query, limit=usage_files.MAX_PACKED_BYTES)
                exported = usage_files.check(file, out)
    except ExportError as error:
        say(f"{proxy.url} answered no whole export: {error}; no file was written")
        return exit_codes.INVALID
    sys.stdout.write(f"{out}: {exported.records} of journal {exported.journal_id}, checked\n")
    if exported.last - exported.first + 1 == limit:
        sys.stdout.write(f"there may be more: export again with --after {exported.last}\n")
    return exit_codes.OK


async def _hand_back(proxy: Target, receipt: Path) -> int:
    try:
        token = files.read(receipt, limit=MAX_ANSWER_BYTES).strip()
    except FileNotFoundError:
        say(f"{receipt}: no such file: expected a receipt, which `streamstack usage import` writes")
        return exit_codes.USAGE
    async with connected(proxy) as api:
        answer = await api.post(RECEIPTS_PATH, token, kind=JWT_TYPE)
    answer.good()
    left = answer.read(UsageBacklog).records
    sys.stdout.write(f"{receipt}: taken by {proxy.url}; records left to export: {left}\n")
    return exit_codes.OK
