"""An archive's model in the store: fetched and unpacked once, by whichever process comes first.

Under ``.streamstack`` in the store lie ``archives/SHA256``, a model that is whole (it appears by one rename, once all
of it is on disk); ``partial/SHA256``, what came of an archive so far, with ``.json`` for how the server knows it and
``.new`` for what is being unpacked; ``locks/SHA256``, held with flock by the process that fetches (the kernel releases
a dead one's); and ``verdicts``, manifests that have been verified.
"""

import fcntl
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from streamstack_asr.engines.nemotron.facts import ModelError
from streamstack_asr.engines.nemotron.store import archive, files, manifest
from streamstack_asr.engines.nemotron.store.download import Downloader, Source, default_opener

logger = logging.getLogger("streamstack_asr.store")

OWN: Final = ".streamstack"


@dataclass(frozen=True, slots=True)
class Fetcher:
    """Brings archives into one store; ``offline`` never opens a connection."""

    store: Path
    offline: bool = False
    downloader: Downloader = field(default_factory=lambda: Downloader(default_opener()))
    bounds: archive.Bounds = archive.BOUNDS

    def model(self, wanted: Source) -> Path:
        """Return the folder of an archive's model, fetched if it is not there. Raises ModelError."""
        final = self._own("archives") / wanted.sha256
        if final.is_dir():
            return final
        if self.offline and not wanted.url.startswith("file:"):
            raise ModelError(
                f"{final}: missing, and MODEL_OFFLINE forbids to fetch {wanted.shown}: expected it in the store, where "
                f"`python -m streamstack_asr.engines.nemotron.store fetch` puts it on a machine with a network"
            )
        try:
            for name in ("archives", "partial", "locks"):
                self._own(name).mkdir(parents=True, exist_ok=True)
            with _locked(self._own("locks") / wanted.sha256):
                if not final.is_dir():  # another process may have been first
                    self._bring(wanted, final)
        except OSError as error:
            raise files.failure(error, f"keep the model of {wanted.shown}", self.store) from error
        return final

    def _bring(self, wanted: Source, final: Path) -> None:
        part = self._own("partial") / wanted.sha256
        unpacked = part.with_name(f"{part.name}.new")
        shutil.rmtree(unpacked, ignore_errors=True)  # of a process that died
        logger.info("fetching %s into %s", wanted.shown, self.store)
        self.downloader.fetch(wanted, part)
        try:
            unpacked.mkdir()
            archive.unpack(part, unpacked, bounds=self.bounds)
            model = _innermost(unpacked)
            if not (model / manifest.NAME).exists():
                # The archive's digest vouches for its files now; from here on the manifest does.
                files.write(model / manifest.NAME, manifest.make(model).as_json())
            model.replace(final)
            files.sync_folder(final.parent)
        finally:
            shutil.rmtree(unpacked, ignore_errors=True)
            for path in (part, part.with_name(f"{part.name}.json")):
                path.unlink(missing_ok=True)
        logger.info("%s is in the store", wanted.shown)

    def _own(self, name: str) -> Path:
        return self.store / OWN / name


def verdicts(store: Path) -> Path:
    """Return the store's folder of verdicts."""
    return store / OWN / "verdicts"


def _innermost(unpacked: Path) -> Path:
    """Return the folder with config.json: archives often hold one folder that holds the files."""
    folder = unpacked
    while not (folder / "config.json").exists():
        inside = list(folder.iterdir())
        if len(inside) != 1 or not inside[0].is_dir():
            raise ModelError(f"the archive {unpacked.stem} has no config.json at its top, expected a model folder")
        folder = inside[0]
    return folder


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            logger.info("another process is fetching this archive: waiting for it")
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
