"""Where a Docker engine of our own keeps everything, and how it is told from others."""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from devcluster import interfaces, processes, sysctls
from devcluster.cache import Cache
from devcluster.commands import capture
from devcluster.errors import DevError
from devcluster.interfaces import ADMIN_PATH
from devcluster.processes import Process

RUNTIME_FOLDERS = tuple(
    Path(folder) for folder in ("/run/docker/plugins", "/run/docker", "/run/containerd/s", "/run/containerd")
)
"""Folders that dockerd and containerd make outside their own, inner ones first."""

SOCKET_BYTES = 107
"""Longest path of a Unix socket (unix(7): 108 with the final zero)."""


@dataclass(frozen=True, slots=True)
class Place:
    """An engine's folder: images, sockets, log, and what the machine was like before it started."""

    folder: Path

    @classmethod
    def of(cls, cache: Cache) -> "Place":
        """Return where the engine of a cache folder is, without links: the kernel shows mounts so."""
        return cls(cache.engine.resolve())

    @property
    def data(self) -> Path:
        """Images, build cache, stopped containers, volumes: stays when the engine stops."""
        return self.folder / "root"

    @property
    def exec_root(self) -> Path:
        """What lives as long as the engine runs."""
        return self.folder / "exec"

    @property
    def socket(self) -> Path:
        """Where the engine listens."""
        return self.folder / "docker.sock"

    @property
    def host(self) -> str:
        """``DOCKER_HOST`` of the engine."""
        return f"unix://{self.socket}"

    @property
    def pid_file(self) -> Path:
        """Written by dockerd."""
        return self.folder / "dockerd.pid"

    @property
    def log(self) -> Path:
        """Log of the engine that runs, or ran last."""
        return self.folder / "dockerd.log"

    @property
    def before(self) -> Path:
        """What the machine was like before the engine started; there while anything of the engine may be there."""
        return self.folder / "before.json"

    @property
    def cgroup(self) -> str:
        """Name of the cgroup, in every hierarchy, that holds the engine's containers and nothing else."""
        return f"streamstack-{hashlib.sha256(str(self.folder).encode()).hexdigest()[:8]}"

    def require_short(self) -> None:
        """Refuse a folder whose sockets could not be reached: the longest is containerd's for debugging."""
        longest = self.exec_root / "containerd" / "containerd-debug.sock"
        if (length := len(os.fsencode(longest))) > SOCKET_BYTES:
            raise DevError(
                f"the engine's folder {self.folder} is {length - SOCKET_BYTES} bytes too long: Unix sockets under it "
                f"may have paths of at most {SOCKET_BYTES} bytes",
                do="set STREAMSTACK_CACHE to a shorter path",
            )

    def dockerd(self) -> Process | None:
        """Return our dockerd, if it runs: the program that has our data root, whatever a pid file says."""
        data = str(self.data)
        return next(
            (p for p in processes.running() if p.program == "dockerd" and p.option("--data-root") == data), None
        )


@dataclass(frozen=True, slots=True)
class Before:
    """What an engine changes on a machine, as it was before: the outcome of `iptables-save`, names, settings."""

    boot: str
    network_namespace: str
    rules: str
    interfaces: tuple[str, ...]
    folders: tuple[str, ...]
    sysctls: Mapping[str, str]

    @classmethod
    def take(cls) -> "Before":
        """Read the machine as it is now."""
        return cls(
            boot=Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
            network_namespace=str(Path("/proc/self/ns/net").readlink()),
            rules=saved_rules(),
            interfaces=tuple(interfaces.names()),
            folders=tuple(str(folder) for folder in RUNTIME_FOLDERS if folder.exists()),
            sysctls=sysctls.read(),
        )

    @classmethod
    def load(cls, place: Place) -> "Before | None":
        """Return what was written when the engine started; ``None`` where none has, or the machine rebooted since."""
        try:
            found = json.loads(place.before.read_text())
            before = cls(**{**found, "interfaces": tuple(found["interfaces"]), "folders": tuple(found["folders"])})
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, KeyError) as error:
            raise DevError(
                f"{place.before} is not what this version writes ({error})",
                do="stop the engine with the version that started it; or end its dockerd and remove this file",
            ) from error
        now = cls.take()
        if before.boot != now.boot:
            return None
        if before.network_namespace != now.network_namespace:
            raise DevError(
                f"the engine in {place.folder} was started in another network namespace ({before.network_namespace})",
                do="run this where it was started, or set STREAMSTACK_CACHE to another folder",
            )
        return before

    def save(self, place: Place) -> None:
        """Write it whole or not at all."""
        new = place.before.with_suffix(".new")
        new.write_text(json.dumps(asdict(self), indent=1))
        new.replace(place.before)


def saved_rules() -> str:
    """Return what `iptables-save` says; nothing where the machine has no such program, so no rules of that kind."""
    program = shutil.which("iptables-save", path=ADMIN_PATH["PATH"])
    return capture((program,), do="look whether iptables works here") if program and os.geteuid() == 0 else ""
