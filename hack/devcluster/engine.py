"""A Docker engine that answers: the machine's own, else one that is installed and started here and stopped on request.

An engine of our own keeps everything under the cache folder's ``engine`` and takes away, when it stops, what it changed
outside (engine_cleanup.py). Images and build cache stay in its data root: they are cache.
"""

import os
import shutil
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from devcluster import limited_runc, processes
from devcluster.cache import Cache, require_space
from devcluster.commands import SIGNALS, run, tail
from devcluster.docker import Docker, answering, clients
from devcluster.engine_cleanup import sweep
from devcluster.engine_place import Before, Place
from devcluster.errors import DevError
from devcluster.interfaces import ADMIN_PATH
from devcluster.privileges import Machine, this_machine
from devcluster.steps import Steps

ENGINE_GIGABYTES = 4.0
"""Room for a node image (1.9 GB) and its build; an engine that fills the disk while it works cannot be helped."""

START_SECONDS = 60
STOP_SECONDS = 60
"""dockerd gives its containers 15 s (--shutdown-timeout) before it kills them."""

PACKAGES = Path(__file__).resolve().parent.parent / "packages"
LOST = ("cannot connect to the docker daemon", "error during connect", "connection refused", "broken pipe")


def ensure_engine(cache: Cache, *, steps: Steps) -> Docker:
    """Return an engine that answers, starting one of our own where none does.

    Raises :class:`DevError` where one is there and may not be used, or none is and none can be started here.
    """
    place = Place.of(cache)
    found = _answering(place)
    if found is not None:
        return found
    with cache.lock("engine"):
        return _answering(place) or _start(place, cache=cache, steps=steps)


def find_engine(cache: Cache) -> Docker | None:
    """Return the engine that answers, if any: where there is none, :func:`ensure_engine` would start one."""
    return _answering(Place.of(cache))


def stop_engine(cache: Cache, *, steps: Steps, purge: bool = False) -> None:
    """Stop the engine that was started here and take away what it changed on the machine; others are left alone.

    Images, stopped containers and volumes stay in its data root; with ``purge`` they go as well. Nothing to stop is
    no error.
    """
    place = Place.of(cache)
    with cache.lock("engine"):
        before = Before.load(place)
        dockerd = place.dockerd()
        if dockerd is None and before is None:
            steps.say("no Docker engine of ours runs on this machine")
        else:
            if not this_machine().root:
                raise DevError("stopping the Docker engine needs root", do="run this with sudo")
            with steps.step("stopping the Docker engine") as log:
                _end(place, before or Before.take(), log=log)
        if purge and place.folder.exists():
            with steps.step("removing the engine's images and volumes"):
                shutil.rmtree(place.folder)


def alive(cache: Cache) -> bool:
    """Tell whether the engine of our own runs and answers."""
    place = Place.of(cache)
    return place.dockerd() is not None and _ping(place.socket)


def explain(error: DevError, *, cache: Cache) -> DevError:
    """Return what an error of a docker command means: "cannot connect" is said by the death of the engine.

    Other errors come back as they are.
    """
    if not any(sign in error.what.lower() for sign in LOST):
        return error
    place = Place.of(cache)
    if not place.before.exists():
        return DevError(f"the Docker engine answers no more: {error.what}", do="look at its log and start it again")
    if alive(cache):
        return error
    return DevError(
        f"the Docker engine died while it was needed; the end of its log:\n{tail(place.log)}",
        do=f"read {place.log}; `hack/engine up` starts it again, `hack/engine down` removes what it left",
    )


@contextmanager
def explained(cache: Cache) -> Iterator[None]:
    """Raise what :func:`explain` makes of a :class:`DevError` in the block."""
    try:
        yield
    except DevError as error:
        meaning = explain(error, cache=cache)
        if meaning is error:
            raise
        raise meaning from error


def _answering(place: Place) -> Docker | None:
    """Return the machine's engine, else our own, if one answers; DOCKER_HOST is somebody's choice and has to answer."""
    chosen = os.environ.get("DOCKER_HOST")
    if chosen != place.host:
        found = answering({})
        if found is not None or chosen is None:
            return found or _our_own(place)
        raise DevError(
            f"DOCKER_HOST is {chosen}, and no Docker engine answers there",
            do="start that engine, or unset DOCKER_HOST to let one be found or started",
        )
    return _our_own(place)


def _our_own(place: Place) -> Docker | None:
    return answering({"DOCKER_HOST": place.host}) if place.socket.exists() and _ping(place.socket) else None


def _start(place: Place, *, cache: Cache, steps: Steps) -> Docker:
    _require_possible(this_machine(), dockerd=shutil.which("dockerd", path=ADMIN_PATH["PATH"]))
    place.require_short()
    require_space(cache.root, ENGINE_GIGABYTES, purpose="a Docker engine")
    _install(steps)
    with steps.step("starting a Docker engine") as log, _folder_errors(place):
        place.folder.mkdir(exist_ok=True)
        before = Before.load(place)
        if before is not None:
            _end(place, before, log=log)
        before = Before.take()
        before.save(place)
        try:
            _await_answer(place, _spawn(place))
        except BaseException:
            _end(place, before, log=log)
            raise
    found = _our_own(place)
    if found is None:
        raise DevError(f"the Docker engine at {place.host} stopped at once\n{tail(place.log)}", do=f"read {place.log}")
    return found


@contextmanager
def _folder_errors(place: Place) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DevError(
            f"the engine's folder {place.folder}: {error.strerror or error} ({error.filename})",
            do=f"look at it and at `df -h {place.folder}`; STREAMSTACK_CACHE chooses another folder",
        ) from error


def _require_possible(machine: Machine, *, dockerd: str | None) -> None:
    """Refuse where an engine can be neither installed nor started, with what a person can do there instead."""
    if not machine.root:
        raise DevError(
            "no Docker engine answers, and starting one needs root",
            do="start Docker (sudo systemctl start docker), or run this with sudo",
        )
    if dockerd is None and not machine.debian:
        raise DevError(
            f"no Docker engine answers, dockerd is not installed, and this machine is {machine.distribution}: only "
            "on Debian and its like is it installed for you",
            do="install and start Docker; or point DOCKER_HOST to an engine elsewhere",
        )


def _install(steps: Steps) -> None:
    """Install what is missing from Debian's packages: the engine, and what takes its rules and interfaces away."""
    programs = {"dockerd": "docker.io", "iptables": "iptables", "ip": "iproute2", "nft": "nftables"}
    wanted = [package for name, package in programs.items() if shutil.which(name, path=ADMIN_PATH["PATH"]) is None]
    if not clients() and "docker.io" not in wanted:
        wanted.append("docker-cli")  # since Debian 13 the client is a package of its own
    if wanted:
        with steps.step(f"installing {', '.join(wanted)} from Debian's packages") as log:
            run((PACKAGES, *wanted), log=log, do="Debian's package mirror has to answer once; read the log")
    if not clients() and "docker-cli" not in wanted:
        with steps.step("installing docker-cli from Debian's packages") as log:
            run((PACKAGES, "docker-cli"), log=log, do="Debian's package mirror has to answer once; read the log")


def _spawn(place: Place) -> int:
    """Start dockerd in a session of its own, so that no Ctrl-C reaches it; returns its process id."""
    if place.log.exists():
        place.log.replace(place.log.with_suffix(".log.previous"))
    program = shutil.which("dockerd", path=ADMIN_PATH["PATH"])
    # cgroupfs wherever it runs: under systemd's driver a cgroup's parent would have to be a slice.
    command = [
        "env", "--chdir=/", str(program),
        f"--host={place.host}", "--data-root", str(place.data), "--exec-root", str(place.exec_root),
        f"--pidfile={place.pid_file}", f"--cgroup-parent=/{place.cgroup}", "--exec-opt=native.cgroupdriver=cgroupfs",
        "--ip6tables=false", *_runtime(place),
    ]  # fmt: skip
    environment = {**os.environ, **ADMIN_PATH}
    write = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    return os.posix_spawnp(
        "env", command, environment, setsid=True, setsigdef=SIGNALS,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(place.log), write, 0o644),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
    )  # fmt: skip


def _runtime(place: Place) -> list[str]:
    """Return dockerd's options for the runtime: runc itself, or the one in front of it where the machine is limited."""
    if not this_machine().limited:
        return []
    shutil.copy(str(limited_runc.__file__), place.folder / "limited_runc.py")
    runc = shutil.which("runc", path=ADMIN_PATH["PATH"])
    if runc is None:
        raise DevError("`runc` is not there, dockerd needs it to start containers", do="install runc")
    script = place.folder / "limited-runc"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -I -S "{place.folder}/limited_runc.py" "{runc}" "$@"\n')
    script.chmod(0o755)
    return [f"--add-runtime=limited={script}", "--default-runtime=limited"]


def _await_answer(place: Place, pid: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not _ping(place.socket):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            code = os.waitstatus_to_exitcode(status)
            raise DevError(f"dockerd ended at once with status {code}\n{tail(place.log)}", do=f"read {place.log}")
        if time.monotonic() > deadline:
            raise DevError(
                f"dockerd does not answer after {START_SECONDS} s\n{tail(place.log)}", do=f"read {place.log}"
            )
        time.sleep(0.05)  # nothing announces that a socket will answer


def _ping(path: Path) -> bool:
    """Ask an engine for life (GET /_ping, Docker Engine API)."""
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(5)
            connection.connect(str(path))
            connection.sendall(b"GET /_ping HTTP/1.0\r\nHost: docker\r\n\r\n")
            return connection.recv(64).split()[1:2] == [b"200"]
    except OSError:
        return False


def _end(place: Place, before: Before, *, log: Path) -> None:
    """End our dockerd, if it runs, and take away what it and its containers changed."""
    dockerd = place.dockerd()
    if dockerd is not None:
        processes.end(dockerd, seconds=STOP_SECONDS)
    sweep(place, before, log=log)
