"""Whether SQLite's write-ahead log lost transactions that were once on disk, which SQLite itself cannot tell.

It takes a log up to the last frame whose checksum holds, and what follows for the rest of a transaction that never
ended. There can be one such: each is synced before the next begins. Ends of two and more behind that frame are of
transactions that were acknowledged, and something changed the log since (sqlite.org/walformat.html).

Only the log is read, and before SQLite opens anything: closing a file that SQLite has locked in the same process would
drop its locks (sqlite.org/howtocorrupt.html 2.2), the log's index first of all, whose next reader would cut it short
under this process.
"""

import struct
from pathlib import Path
from typing import BinaryIO, Final

from streamstack_license_proxy.journal.errors import JournalDamagedError

_HEADER: Final = struct.Struct(">IIIIIIII")
"""Magic, version, page size, checkpoints, two salts, which every frame of this log repeats, and two checksums."""
_FRAME: Final = struct.Struct(">IIIIII")
"""Page, size of the database where a transaction ends, else 0, the salts and the checksums; the page follows."""
_SUMMED_OF_HEADER: Final = 24
_SUMMED_OF_FRAME: Final = 8
_BYTE_ORDERS: Final = {0x377F0682: "<", 0x377F0683: ">"}
"""In which order a log's checksums read words, by its magic."""
_PAGE_SIZES: Final = frozenset(1 << power for power in range(9, 17))
_WORD: Final = 0xFFFFFFFF

Sums = tuple[int, int]


def check_log(main: Path) -> None:
    """Look at the log of a database that nobody in this process has open.

    Raises:
        JournalDamagedError: transactions are lost.
        OSError: it cannot be read.

    """
    log = main.with_name(f"{main.name}-wal")
    try:
        with log.open("rb") as file:
            lost = _ends_behind_what_holds(file)
    except FileNotFoundError:
        return
    if lost > 1:
        raise JournalDamagedError(f"{log}: it was changed: at least {lost - 1} transactions cannot be read")


def _ends_behind_what_holds(file: BinaryIO) -> int:
    """Return how many transactions end behind the last frame that SQLite takes."""
    header = file.read(_HEADER.size)
    if len(header) < _HEADER.size:
        return 0
    magic, _, page_bytes, _, *salts, first, second = _HEADER.unpack(header)
    order = _BYTE_ORDERS.get(magic, "")
    holds = bool(order) and _summed(header[:_SUMMED_OF_HEADER], order, (0, 0)) == (first, second)
    if page_bytes not in _PAGE_SIZES:
        page_bytes, holds = 4096, False
    sums: Sums = (first, second)
    # Where the log's own header is gone, the first frame still has the salts.
    known = tuple(salts) if holds else None
    ends = 0
    while len(frame := file.read(_FRAME.size + page_bytes)) == _FRAME.size + page_bytes:
        _, end, *frame_salts, first, second = _FRAME.unpack_from(frame)
        known = known or tuple(frame_salts)
        if tuple(frame_salts) != known:
            holds = False
            continue
        if holds:
            sums = _summed(frame[:_SUMMED_OF_FRAME], order, sums)
            sums = _summed(frame[_FRAME.size :], order, sums)
            holds = sums == (first, second)
        ends += bool(end) and not holds
    return ends


def _summed(data: bytes, order: str, sums: Sums) -> Sums:
    """Go on with a checksum over whole pairs of words."""
    first, second = sums
    words = struct.unpack(f"{order}{len(data) // 4}I", data)
    for even, odd in zip(words[::2], words[1::2], strict=True):
        first = (first + even + second) & _WORD
        second = (second + odd + first) & _WORD
    return first, second
