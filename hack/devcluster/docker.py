"""A Docker engine that answers, and the client that talks to it."""

import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from devcluster import versions
from devcluster.commands import attempt, capture, run
from devcluster.errors import DevError

ENGINE_SECONDS = 20.0
"""How long an engine may take to answer before it counts as not there."""


@dataclass(frozen=True, slots=True)
class Docker:
    """A client program and the engine it reaches.

    ``env`` is what the client needs in its environment (``DOCKER_HOST`` for an engine of our own), ``version`` the
    engine's, ``buildkit`` what has to be added for a build with BuildKit.
    """

    binary: str
    version: str
    env: Mapping[str, str] = field(default_factory=dict)
    buildkit: Mapping[str, str] = field(default_factory=dict)

    def run(self, *args: str | Path, log: Path, stdin: bytes | None = None, do: str = "read the log") -> None:
        """Run a docker command with its output in ``log``; :class:`DevError` when it fails."""
        run((self.binary, *args), log=log, env=self.env, stdin=stdin, do=do)

    def build(self, *args: str | Path, log: Path) -> None:
        """Run ``docker build`` with BuildKit."""
        run((self.binary, "build", *args), log=log, env={**self.env, **self.buildkit}, do="read the build's log")

    def capture(self, *args: str | Path, stdin: bytes | None = None, timeout_seconds: float | None = 60) -> str:
        """Return a docker command's standard output; :class:`DevError` when it fails."""
        return capture((self.binary, *args), env=self.env, stdin=stdin, timeout_seconds=timeout_seconds)

    def attempt(self, *args: str | Path, timeout_seconds: float | None = 60) -> tuple[int, str, str]:
        """Run a docker command that may fail: status, standard output, standard error."""
        return attempt((self.binary, *args), env=self.env, timeout_seconds=timeout_seconds)

    def image_id(self, reference: str) -> str | None:
        """Return an image's id (``sha256:...``, the digest of its configuration), ``None`` where it is not there."""
        status, output, _ = self.attempt("image", "inspect", "--format", "{{.Id}}", reference)
        return output.strip() if status == 0 else None


def clients() -> list[str]:
    """Docker clients on PATH and Debian's own, in the order they are preferred, each once."""
    found = [shutil.which("docker"), "/usr/bin/docker"]
    return list(dict.fromkeys(path for path in found if path and os.access(path, os.X_OK)))


def answering(env: Mapping[str, str]) -> Docker | None:
    """Return the engine that ``env`` and the client's own context lead to, ``None`` where nothing answers.

    A socket without permission and an engine that is too old raise :class:`DevError`: something is there, and it must
    not be passed over in silence.
    """
    for binary in clients():
        status, output, errors = attempt(
            (binary, "version", "--format", "{{.Server.Version}}"), env=env, timeout_seconds=ENGINE_SECONDS
        )
        if status == 0:
            version = output.strip()
            _require_recent(version)
            return Docker(binary=_builder(binary), version=version, env=env, buildkit={"DOCKER_BUILDKIT": "1"})
        # Not any "permission denied": a client also warns so of a configuration that it may not read.
        if denied := re.search(r"permission denied while trying to connect.*", errors):
            raise DevError(
                f"a Docker engine is there, and this user may not use it: {denied[0]}",
                do="join the docker group (sudo usermod -aG docker $USER, then log in again), or run this with sudo",
            )
    return None


def _require_recent(version: str) -> None:
    numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    if numbers < versions.MINIMUM_DOCKER:
        wanted = ".".join(map(str, versions.MINIMUM_DOCKER))
        raise DevError(f"the Docker engine is {version}, expected {wanted} or later", do="update Docker")


def _builder(preferred: str) -> str:
    """Choose the client that can build with BuildKit: up to 22 it is inside, from 23 it wants the buildx plugin."""
    for binary in dict.fromkeys([preferred, *clients()]):
        status, output, _ = attempt((binary, "--version"))
        major = re.search(r"version (\d+)\.", output)
        if status == 0 and major and int(major[1]) < 23:
            return binary
        if status == 0 and attempt((binary, "buildx", "version"))[0] == 0:
            return binary
    raise DevError(
        "no docker client here can build with BuildKit", do="install docker-buildx-plugin (or Debian's docker.io)"
    )


def rows(output: str) -> Sequence[str]:
    """Split a command's output into its lines that are not empty."""
    return [line for line in output.splitlines() if line]
