"""Compose for an engine: the machine's own when recent enough, else built from Go modules."""

import os
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from devcluster import gotools, versions
from devcluster.cache import Cache
from devcluster.commands import attempt
from devcluster.docker import Docker, clients
from devcluster.steps import Steps

PLUGIN = "docker-compose"
"""The same program is called alone or as `docker compose` (docker finds plugins by this name in its folders)."""


def ensure_compose(docker: Docker, *, cache: Cache, steps: Steps) -> tuple[list[str], Mapping[str, str]]:
    """Return the command that is Compose, and what it needs in its environment to reach ``docker``.

    The machine's own is taken when it is :data:`versions.MINIMUM_COMPOSE` or later. What is built is called by its
    path: a plugin would need a ``DOCKER_CONFIG`` of ours, which hides the user's logins.
    """
    found = installed(docker)
    return found or [str(gotools.build(PLUGIN, cache=cache, steps=steps))], docker.env


def installed(docker: Docker) -> list[str] | None:
    """Return the command of a recent enough Compose that is on this machine: a plugin, or a program of its own."""
    alone = shutil.which(PLUGIN)
    commands = [[binary, "compose"] for binary in dict.fromkeys([docker.binary, *clients()])]
    return next((command for command in [*commands, *([[alone]] if alone else [])] if _recent(command)), None)


def built(cache: Cache) -> Path | None:
    """Return the program that :func:`ensure_compose` built, if it has."""
    place = cache.place("tools", gotools.tool_key(PLUGIN)) / PLUGIN
    return place if place.exists() else None


def plugin_config(program: Path, *, cache: Cache, config: Path) -> Path:
    """Make a ``DOCKER_CONFIG`` in which docker finds ``program`` as its Compose, and all that ``config`` has.

    Everything is a link into the user's own folder, so logins and contexts stay what and where they are.
    """
    folder = cache.root / "docker-config"
    if config == folder:  # the shell has it already
        return folder
    with cache.lock("docker-config"):
        shutil.rmtree(folder, ignore_errors=True)
        plugins = folder / "cli-plugins"
        plugins.mkdir(parents=True)
        for source, target in ((config, folder), (config / "cli-plugins", plugins)):
            for entry in source.iterdir() if source.is_dir() else ():
                if entry.name not in {"cli-plugins", PLUGIN}:
                    (target / entry.name).symlink_to(entry)
        (plugins / PLUGIN).symlink_to(program)
    return folder


def user_config() -> Path:
    """Return docker's own configuration folder of this user."""
    return Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker").absolute()


def is_recent(output: str) -> bool:
    """Tell whether what `compose version --short` says (2.24.0, v2.40.3-desktop.1) is recent enough."""
    found = re.match(r"v?(\d+)\.(\d+)", output.strip())
    return found is not None and (int(found[1]), int(found[2])) >= versions.MINIMUM_COMPOSE


def _recent(command: Sequence[str]) -> bool:
    status, output, _ = attempt((*command, "version", "--short"))
    return status == 0 and is_recent(output)
