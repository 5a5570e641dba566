"""One cache folder for everything that was built, by content hash, and for the state of what runs.

An entry appears whole or not at all: it is made in a temporary folder beside its place and renamed. Two commands that
want the same entry at the same time make it once.
"""

import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from devcluster.errors import DevError

FORMAT = "1"
"""Version of the folder's layout; entries themselves are named by the hash of what they are made of."""


class Cache:
    """The cache folder: ``STREAMSTACK_CACHE``, else ``streamstack`` in the user's cache folder.

    ======================  ==========================================================
    ``KIND/KEY/``           what was built, by kind and content hash
    ``clusters/NAME/``      a cluster's kubeconfig, logs and facts
    ``engine/``             a Docker engine of our own: its data, socket and log
    ``locks/``              one file per thing that only one command at a time may make
    ======================  ==========================================================
    """

    def __init__(self, root: Path | None = None) -> None:
        self.root = root or default_root()
        self._open()

    @property
    def clusters(self) -> Path:
        """Folder of clusters' state, one folder a cluster."""
        return self.root / "clusters"

    @property
    def engine(self) -> Path:
        """Folder of the Docker engine that was started by us, if any."""
        return self.root / "engine"

    @property
    def logs(self) -> Path:
        """Folder of the logs of what belongs to no cluster: builds, the engine's start."""
        return self.root / "logs"

    def place(self, kind: str, key: str) -> Path:
        """Return where an entry is, or would be."""
        return self.root / kind / key

    @contextmanager
    def made(self, kind: str, key: str) -> Iterator[Path | None]:
        """Make an entry once: yields ``None`` when it is there, else an empty folder that becomes the entry.

        Holds the entry's lock meanwhile. When the block raises, nothing is kept.
        """
        place = self.place(kind, key)
        with self.lock(f"{kind}-{key}"):
            if place.exists():
                yield None
                return
            with self._disk():
                place.parent.mkdir(parents=True, exist_ok=True)
                for left in place.parent.glob(f".{key}.*"):  # by a maker that was killed: we hold its lock
                    shutil.rmtree(left)
                folder = Path(tempfile.mkdtemp(prefix=f".{key}.", dir=place.parent))
            try:
                with self._disk():
                    yield folder
                folder.chmod(0o755)
                folder.rename(place)
            finally:
                shutil.rmtree(folder, ignore_errors=True)

    @contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """Hold a lock that ends with this process, however it ends."""
        with self._disk():
            (self.root / "locks").mkdir(exist_ok=True)
            handle = (self.root / "locks" / name).open("w")
        with handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield

    def _open(self) -> None:
        with self._disk():
            self.root.mkdir(parents=True, exist_ok=True)
            marker = self.root / "FORMAT"
            if not marker.exists():
                marker.write_text(FORMAT)
            found = marker.read_text().strip()
        if found != FORMAT:
            raise DevError(
                f"cache folder {self.root} has format {found or 'of no name'}, expected {FORMAT}: "
                "it was written by another version",
                do="set STREAMSTACK_CACHE to another folder, or take its clusters down with the version that made it "
                "and remove the folder",
            )

    @contextmanager
    def _disk(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise DevError(
                f"cache folder {self.root}: {error.strerror or error} ({error.filename})",
                do=f"see `df -h {self.root}`; STREAMSTACK_CACHE chooses another folder",
            ) from error


def default_root() -> Path:
    """Return the cache folder in force."""
    chosen = os.environ.get("STREAMSTACK_CACHE")
    if chosen:
        return Path(chosen).absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "streamstack"


def content_key(parts: Mapping[str, str | bytes]) -> str:
    """Hash named inputs into an entry's key; another name, order or content is another key."""
    digest = hashlib.sha256()
    for name, part in sorted(parts.items()):
        content = part.encode() if isinstance(part, str) else part
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:16]


def require_space(folder: Path, gigabytes: float, *, purpose: str) -> None:
    """Refuse to begin what would fill the disk: ``gigabytes`` (1e9 bytes) must be free where ``folder`` is."""
    free = shutil.disk_usage(folder).free / 1e9
    if free < gigabytes:
        raise DevError(
            f"{purpose} needs {gigabytes:g} GB in {folder}, {free:.1f} GB are free",
            do="free some, or set STREAMSTACK_CACHE to a folder on a larger disk",
        )
