"""Another process's clocks, moved while it runs: Debian's libfaketime (``hack/packages faketime``)."""

from pathlib import Path


def forget(pid: int) -> None:
    """Remove what libfaketime leaves of a process that was killed: another one may get its number."""
    for left in (f"faketime_shm_{pid}", f"sem.faketime_sem_{pid}"):
        Path("/dev/shm", left).unlink(missing_ok=True)  # noqa: S108 - the library's own place


class FakedClock:
    """Moves the wall clock of a process; with ``every_clock`` the monotonic ones too, as if time had passed.

    libfaketime(1): the file is read at each look at a clock, and never while it is being written.
    """

    def __init__(self, folder: Path, *, every_clock: bool = False) -> None:
        libraries = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
        if not libraries:
            raise RuntimeError("libfaketime is not there: expected `hack/packages faketime` before")
        self._file = folder / "faketime"
        self.environment = {
            "LD_PRELOAD": str(libraries[0]),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            **({} if every_clock else {"FAKETIME_DONT_FAKE_MONOTONIC": "1"}),
        }
        self.move(0)

    def move(self, seconds: int) -> None:
        """Set what the clocks are off by."""
        draft = self._file.with_name("faketime.new")
        draft.write_text(f"{seconds:+d}\n")
        draft.replace(self._file)
