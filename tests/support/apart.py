"""A part of this machine where an engine can come and go without meeting another one."""

import os
import signal
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from devcluster import sysctls
from devcluster.engine_place import Place
from devcluster.footprint import Footprint
from support.polling import wait_until

ROOT = Path(__file__).resolve().parents[2]
ENGINE = ROOT / "hack/engine"
COMMAND_SECONDS = 120
BUSYBOX = Path("/bin/busybox")

# Its first process prepares the rest: loopback up, and a /run without the machine's own Docker socket.
PREPARE = "ip link set lo up && mount -t tmpfs tmpfs /run && echo ready && exec sleep infinity"


@dataclass(frozen=True, slots=True)
class Apart:
    """Namespaces of their own for network, mounts and processes, and a cache folder of their own in them."""

    first: int
    cache: Path

    @property
    def engine(self) -> Path:
        return self.cache / "engine"

    @property
    def host(self) -> str:
        return f"unix://{self.engine}/docker.sock"

    def command(self, *arguments: str | Path) -> list[str]:
        """What runs a command in there."""
        enter = ["nsenter", f"--target={self.first}", "--net", "--mount", "--pid", f"--wd={ROOT}", "--"]
        return [*enter, *map(str, arguments)]

    def environment(self, more: Mapping[str, str]) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("DOCKER_")}
        return {**kept, "STREAMSTACK_CACHE": str(self.cache), **more}

    def run(self, *arguments: str | Path, **environment: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            self.command(*arguments),
            env=self.environment(environment),
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )

    def succeed(self, *arguments: str | Path, **environment: str) -> str:
        done = self.run(*arguments, **environment)
        assert done.returncode == 0, f"{arguments}: {done.stderr}{done.stdout}"
        return done.stdout

    def begin(self, *arguments: str | Path) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            self.command(*arguments),
            env=self.environment({}),
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def docker(self, *arguments: str) -> str:
        """Run a client of the engine in there."""
        return self.succeed("docker", *arguments, DOCKER_HOST=self.host)

    def footprint(self) -> Footprint:
        """What is in there now.

        Cgroups and some settings have no namespace: those of another engine on this machine are left out.
        """
        text = self.succeed(sys.executable, "-m", "devcluster.footprint", PYTHONPATH=str(ROOT / "hack"))
        found = Footprint.from_json(text)
        return replace(
            found,
            cgroups=tuple(line for line in found.cgroups if Place(self.engine).cgroup in line),
            settings=tuple(line for line in found.settings if line.split()[0] in sysctls.ENGINE),
        )

    def dockerds(self) -> list[int]:
        """Process ids, as they are outside, of this engine's dockerd."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and (entry / "cmdline").exists():
                words = _arguments(entry)
                if f"{self.engine}/root" in words and Path(words[0]).name == "dockerd":
                    found.append(int(entry.name))
        return found

    def kill_dockerd(self) -> None:
        """Kill the engine as a crash does, and wait until it is gone."""
        (pid,) = self.dockerds()
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not self.dockerds())

    def load_image(self, folder: Path) -> str:
        """Make an image without a registry: a static busybox and nothing else."""
        archive = folder / "busybox.tar"
        with tarfile.open(archive, "w") as tar:
            tar.add(BUSYBOX.resolve(), "bin/busybox")
        self.docker("import", str(archive), "busybox:test")
        return "busybox:test"


def _arguments(entry: Path) -> list[str]:
    try:
        return (entry / "cmdline").read_bytes().decode().split("\0")
    except (FileNotFoundError, ProcessLookupError):
        return [""]


@contextmanager
def apart_from_others(cache: Path) -> Iterator[Apart]:
    """Make the namespaces; every process in them ends with them."""
    holder = subprocess.Popen(
        [
            "unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation=private",
            "sh", "-c", PREPARE,
        ],
        stdout=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    with holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "ready\n"
            (first,) = Path(f"/proc/{holder.pid}/task/{holder.pid}/children").read_text().split()
            yield Apart(first=int(first), cache=cache)
        finally:
            holder.kill()
