"""A disk that remembers every write, and what could be left of it had the power gone at any of them.

What was synced is there. Of what was written since, any part may be: whole writes are missing, one is torn, later ones
are there while earlier ones are not. Changes of names last in their order, up to anywhere behind the folder's last
sync. With ``killed`` the process alone dies: everything written is there.
"""

import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

from support.traced_sqlite import traced

SECTOR_BYTES = 512

Change = tuple[int, bytes | None]
"""Bytes at an offset, or a new size."""


@dataclass
class _Node:
    """A file, whatever its name: what is synced, and what is written since."""

    durable: bytearray = field(default_factory=bytearray)
    pending: list[Change] = field(default_factory=list)


@dataclass
class CrashDisk:
    """Records what a piece of code does to one folder, as events that can be replayed up to any of them."""

    folder: Path
    events: list[tuple[Any, ...]] = field(default_factory=list)
    names: dict[str, int] = field(default_factory=dict)
    nodes: int = 0

    def opened(self, path: Path, *, create: bool) -> int | None:
        if path.parent != self.folder:
            return None
        if path.name not in self.names and create:
            self._create(path.name)
        return self.names.get(path.name)

    def wrote(self, file: int | None, offset: int, data: bytes) -> None:
        self.events.append(("change", file, (offset, data)))

    def truncated(self, file: int | None, size: int) -> None:
        self.events.append(("change", file, (size, None)))

    def synced(self, file: int | None) -> None:
        # SQLite syncs the folder with the first sync of a log that it made (os_unix.c, UNIXFILE_DIRSYNC).
        self.events.append(("sync", file))
        self.events.append(("sync names",))

    def deleted(self, path: Path) -> None:
        if self.names.pop(path.name, None) is not None:
            self.events.append(("name", path.name, None))

    def note(self, what: Any) -> None:
        """Put something in between: :meth:`images` gives all notes before the crash."""
        self.events.append(("note", what))

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Record what this process does to the folder; everything that is open has to be closed before the end."""
        with traced(self), self._python():
            yield

    @contextmanager
    def _python(self) -> Iterator[None]:
        """What Python itself does: names and syncs; what it wrote is seen where it is synced."""
        rename, unlink, fsync, opening = os.rename, os.unlink, os.fsync, os.open

        def renamed(source: Any, target: Any, **options: Any) -> None:
            old, new = Path(source), Path(target)
            self.names[new.name] = self.names.pop(old.name)
            self.events.append(("name", new.name, self.names[new.name], old.name))
            rename(source, target, **options)

        def unlinked(path: Any, **options: Any) -> None:
            unlink(path, **options)
            self.deleted(Path(path))

        def opened(path: Any, flags: int, *rest: Any, **options: Any) -> int:
            descriptor = opening(path, flags, *rest, **options)
            if flags & os.O_CREAT and Path(path).parent == self.folder and Path(path).name not in self.names:
                self._create(Path(path).name)
            return descriptor

        def synced(descriptor: int) -> None:
            fsync(descriptor)
            path = Path(f"/proc/self/fd/{descriptor}").readlink()
            if path == self.folder:
                self.events.append(("sync names",))
            else:
                node = self.names[path.name]
                self.events += [("change", node, (0, path.read_bytes())), ("sync", node)]

        with mock.patch.multiple(os, rename=renamed, unlink=unlinked, open=opened, fsync=synced):
            yield

    def _create(self, name: str) -> None:
        self.nodes += 1
        self.names[name] = self.nodes
        self.events.append(("name", name, self.nodes))

    def image(self, crash: int, target: Path, survives: Callable[[int], int]) -> list[Any]:
        """Write what is left when all goes dark before event ``crash``; returns the notes so far.

        ``survives(n)`` chooses from 0 to n: how many of n changes of names last; for one write (n = 2) whether it is
        gone (0), torn (1) or whole (2).
        """
        nodes: dict[int, _Node] = {}
        names: dict[str, int] = {}
        pending_names: list[tuple[Any, ...]] = []
        notes = []
        for event in self.events[:crash]:
            match event:
                case ("change", node, change):
                    nodes.setdefault(node, _Node()).pending.append(change)
                case ("sync", node):
                    synced = nodes.setdefault(node, _Node())
                    for change in synced.pending:
                        _apply(synced.durable, change)
                    synced.pending.clear()
                case ("sync names",):
                    _rename(names, pending_names)
                    pending_names.clear()
                case ("note", what):
                    notes.append(what)
                case _:
                    pending_names.append(event)
        _rename(names, pending_names[: survives(len(pending_names))])
        for name, node in names.items():
            left = nodes.get(node, _Node())
            content = bytearray(left.durable)
            for change in left.pending:
                _apply_some(content, change, survives(2))
            (target / name).write_bytes(content)
        return notes


def killed(choices: int) -> int:
    """Everything that was written is there."""
    return choices


def nothing(_choices: int) -> int:
    """Only what was synced is there."""
    return 0


def anything(seed: int) -> Callable[[int], int]:
    """Some of it is there."""
    chance = random.Random(seed)  # noqa: S311 - no secret
    return lambda choices: chance.randint(0, choices)


def _rename(names: dict[str, int], events: list[tuple[Any, ...]]) -> None:
    for _, name, node, *source in events:
        for old in source:
            names.pop(old, None)
        if node is None:
            names.pop(name, None)
        else:
            names[name] = node


def _apply(content: bytearray, change: Change) -> None:
    offset, data = change
    if data is None:
        del content[offset:]
        content.extend(bytes(offset - len(content)))
        return
    if len(content) < offset:
        content.extend(bytes(offset - len(content)))
    content[offset : offset + len(data)] = data


def _apply_some(content: bytearray, change: Change, how: int) -> None:
    offset, data = change
    if how == 2:
        _apply(content, change)
    elif how == 1 and data is not None:
        _apply(content, (offset, data[: len(data) // 2 // SECTOR_BYTES * SECTOR_BYTES]))
