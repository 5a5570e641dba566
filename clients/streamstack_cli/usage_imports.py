"""``streamstack usage import``: files into the authority's ledger, and what is missing by number."""

import asyncio
import sys
from collections.abc import Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field

from streamstack_cli import exit_codes, files, usage_files
from streamstack_cli.http_api import Api, Target, connected
from streamstack_cli.running import run_calls, say
from streamstack_cli.usage_files import Exported
from streamstack_common.authority import JOURNALS_PATH, MAX_ANSWER_BYTES, UploadAnswer
from streamstack_common.usage_export import ExportError

GZIP_TYPE: Final = "application/gzip"


class Imported(BaseModel):
    """Answer 200 to an import: everything before record ``next`` is in the ledger, and ``receipt`` says so."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    customer: str
    accepted: Annotated[int, Field(ge=0)]
    duplicates: Annotated[int, Field(ge=0)]
    unreadable: Annotated[int, Field(ge=0)] = 0
    """Of the accepted ones, those that bill nothing: a newer proxy wrote what this authority cannot read."""
    next: Annotated[int, Field(ge=1)]
    receipt: Annotated[str, Field(min_length=1, max_length=MAX_ANSWER_BYTES)]


def import_files(authority: Target, paths: Sequence[Path]) -> int:
    """Have an authority take files, each checked before any is sent; the exit status.

    Files of one journal go in the order of their records. What cannot be taken is said, and the rest is taken.
    """
    exported, broken = _checked(paths)
    if broken:
        return exit_codes.INVALID
    return run_calls(_import(authority, usage_files.in_order(exported)))


def _checked(paths: Sequence[Path]) -> tuple[list[Exported], bool]:
    """Return the files that are whole, and whether one is not."""
    exported, broken = list[Exported](), False
    for path in paths:
        try:
            with path.open("rb") as file:
                exported.append(usage_files.check(file, path))
        except (ExportError, OSError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            say(f"{path}: {reason}; nothing was imported")
            broken = True
    return exported, broken


async def _import(authority: Target, exported: Sequence[Exported]) -> int:
    worst = exit_codes.OK
    async with connected(authority) as api:
        for one in exported:
            worst = max(worst, await _import_one(api, one))
    return worst


async def _import_one(api: Api, one: Exported) -> int:
    content = await asyncio.to_thread(files.read, one.path, limit=usage_files.MAX_PACKED_BYTES)
    answer = await api.post(f"{JOURNALS_PATH}/{one.journal_id}/import", content, kind=GZIP_TYPE)
    if answer.status == HTTPStatus.CONFLICT:
        return _told_conflict(one, answer.read(UploadAnswer))
    answer.good()
    imported = answer.read(Imported)
    files.replace(one.receipt_path, f"{imported.receipt}\n".encode())
    sys.stdout.write(
        f"{one.path}: {one.records} of journal {one.journal_id}, customer {imported.customer}: {imported.accepted} "
        f"accepted, {imported.duplicates} known already; all before record {imported.next} are in the ledger\n"
        f"{one.receipt_path}: hand it back with `streamstack usage receipt`\n"
    )
    if imported.unreadable:
        say(f"{one.path}: {imported.unreadable} records cannot be understood by this authority, and bill nothing")
    return exit_codes.OK


def _told_conflict(one: Exported, conflict: UploadAnswer) -> int:
    if conflict.problem == "gap":
        say(
            f"{one.path}: records {conflict.next} to {one.first - 1} of journal {one.journal_id} are missing: "
            f"expected a file with them first, which --after {conflict.next - 1} exports"
        )
        return exit_codes.MISSING
    say(
        f"{one.path}: journal {one.journal_id} is known with other records before number {conflict.next}: expected the "
        "one journal that its proxy wrote, not a copy that went its own way"
    )
    return exit_codes.INVALID
