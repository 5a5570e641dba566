"""Sees everything SQLite writes: its way to the operating system, wrapped (sqlite.org/vfs.html), by ctypes.

Python's sqlite3 module offers no such thing. It works where that module uses a shared libsqlite3, as Debian's does.
"""

import contextlib
import ctypes
import sqlite3
from collections.abc import Iterator
from ctypes import CFUNCTYPE, POINTER, Structure, c_char_p, c_int, c_int64, c_void_p
from pathlib import Path
from typing import Any, Protocol

_OPEN_CREATE = 0x00000004

# Names stay pointers: SQLite keeps more before and behind them.
_XOPEN = CFUNCTYPE(c_int, c_void_p, c_void_p, c_void_p, c_int, c_void_p)
_XDELETE = CFUNCTYPE(c_int, c_void_p, c_void_p, c_int)
_XWRITE = CFUNCTYPE(c_int, c_void_p, c_void_p, c_int, c_int64)
_XTRUNCATE = CFUNCTYPE(c_int, c_void_p, c_int64)
_XSYNC = CFUNCTYPE(c_int, c_void_p, c_int)


class _Vfs(Structure):
    _fields_ = [
        ("version", c_int),
        ("file_bytes", c_int),
        ("longest_path", c_int),
        ("next", c_void_p),
        ("name", c_char_p),
        ("data", c_void_p),
        ("open", _XOPEN),
        ("delete", _XDELETE),
        ("others", c_void_p * 16),  # from xAccess to xNextSystemCall: as they are
    ]


class _Methods(Structure):
    _fields_ = [
        ("version", c_int),
        ("close", c_void_p),
        ("read", c_void_p),
        ("write", _XWRITE),
        ("truncate", _XTRUNCATE),
        ("sync", _XSYNC),
        ("others", c_void_p * 13),  # from xFileSize to xUnfetch
    ]


class _File(Structure):
    _fields_ = [("methods", POINTER(_Methods))]


class Disk(Protocol):
    """What is told of every change, before it is made."""

    def opened(self, path: Path, *, create: bool) -> Any:
        """Return what the file is called in what follows."""

    def wrote(self, file: Any, offset: int, data: bytes) -> None: ...

    def truncated(self, file: Any, size: int) -> None: ...

    def synced(self, file: Any) -> None: ...

    def deleted(self, path: Path) -> None: ...


def library() -> ctypes.CDLL | None:
    """The libsqlite3 that Python's module uses; None where it has one of its own inside."""
    try:
        lib = ctypes.CDLL("libsqlite3.so.0")
    except OSError:
        return None
    lib.sqlite3_libversion.restype = c_char_p
    mapped = "libsqlite3.so" in Path("/proc/self/maps").read_text()
    return lib if mapped and lib.sqlite3_libversion().decode() == sqlite3.sqlite_version else None


@contextlib.contextmanager
def traced(disk: Disk) -> Iterator[None]:
    """Tell ``disk`` of everything that connections opened meanwhile change; they have to be closed at the end."""
    lib = library()
    assert lib is not None
    lib.sqlite3_vfs_find.restype = POINTER(_Vfs)
    original = lib.sqlite3_vfs_find(None)
    shim = _Shim(original, disk)
    assert lib.sqlite3_vfs_register(ctypes.byref(shim.vfs), 1) == 0
    try:
        yield
    finally:
        lib.sqlite3_vfs_unregister(ctypes.byref(shim.vfs))
        lib.sqlite3_vfs_register(original, 1)


def _path(name: int) -> Path:
    return Path(ctypes.string_at(name).decode())


class _Shim:
    """A copy of the original with some functions of its own; those of a file are replaced when it is opened."""

    def __init__(self, original: Any, disk: Disk) -> None:
        self.original = original
        self.disk = disk
        self.files: dict[int, Any] = {}
        self.methods: dict[int, tuple[_Methods, _Methods]] = {}
        self.vfs = _Vfs.from_buffer_copy(original.contents)
        self.vfs.name = b"traced"
        self.vfs.open = _XOPEN(self.open)
        self.vfs.delete = _XDELETE(self.delete)

    def open(self, _vfs: int, name: int | None, file: int, flags: int, out: int) -> int:
        result: int = self.original.contents.open(ctypes.addressof(self.original.contents), name, file, flags, out)
        if result == 0 and name is not None:
            self.files[file] = self.disk.opened(_path(name), create=bool(flags & _OPEN_CREATE))
            opened = ctypes.cast(file, POINTER(_File)).contents
            opened.methods = ctypes.pointer(self._wrapped(opened.methods.contents))
        return result

    def delete(self, _vfs: int, name: int, sync: int) -> int:
        self.disk.deleted(_path(name))
        result: int = self.original.contents.delete(ctypes.addressof(self.original.contents), name, sync)
        return result

    def _wrapped(self, original: _Methods) -> _Methods:
        address = ctypes.addressof(original)
        if address not in self.methods:
            kept = _Methods.from_buffer_copy(original)
            mine = _Methods.from_buffer_copy(original)

            def write(file: int, data: int, size: int, offset: int) -> int:
                self.disk.wrote(self.files[file], offset, ctypes.string_at(data, size))
                return int(kept.write(file, data, size, offset))

            def truncate(file: int, size: int) -> int:
                self.disk.truncated(self.files[file], size)
                return int(kept.truncate(file, size))

            def sync(file: int, flags: int) -> int:
                result = int(kept.sync(file, flags))
                self.disk.synced(self.files[file])
                return result

            mine.write, mine.truncate, mine.sync = _XWRITE(write), _XTRUNCATE(truncate), _XSYNC(sync)
            self.methods[address] = (mine, kept)
        return self.methods[address][0]
