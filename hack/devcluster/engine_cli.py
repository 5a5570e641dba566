"""`hack/engine up | down [--purge] | status | env [--compose]`: a Docker engine where the machine has none."""

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from devcluster import gotools
from devcluster.cache import Cache
from devcluster.commands import raise_on_signals
from devcluster.compose_plugin import PLUGIN, built, installed, plugin_config, user_config
from devcluster.docker import Docker
from devcluster.engine import alive, ensure_engine, find_engine, stop_engine
from devcluster.engine_place import Place
from devcluster.errors import DevError, Interrupted
from devcluster.steps import Steps


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0 when it did its work, 1 with an error on standard error, 130 when interrupted."""
    options = _parser().parse_args(arguments)
    raise_on_signals()
    try:
        cache = Cache()
        steps = Steps(cache.logs)
        return COMMANDS[options.command](cache, steps, options)
    except DevError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except Interrupted as interrupted:
        print(f"interrupted by {interrupted.signal_name}; what was begun is undone", file=sys.stderr)
        return 130


def _up(cache: Cache, steps: Steps, _options: argparse.Namespace) -> int:
    docker = ensure_engine(cache, steps=steps)
    steps.say(f"Docker engine {docker.version} answers at {docker.env.get('DOCKER_HOST') or 'its usual place'}")
    return 0


def _down(cache: Cache, steps: Steps, options: argparse.Namespace) -> int:
    stop_engine(cache, steps=steps, purge=options.purge)
    return 0


def _status(cache: Cache, _steps: Steps, _options: argparse.Namespace) -> int:
    docker = find_engine(cache)
    place = Place.of(cache)
    if docker is not None and docker.env.get("DOCKER_HOST") == place.host:
        print(f"Docker engine {docker.version}, started by hack/engine, at {place.host}, log in {place.log}")
    elif docker is not None:
        print(f"Docker engine {docker.version}, the machine's own, at its usual place")
    elif place.before.exists() and not alive(cache):
        print(f"the Docker engine started by hack/engine died: {place.log}")
    else:
        print("no Docker engine answers")
    return 0 if docker is not None else 1


def _env(cache: Cache, steps: Steps, options: argparse.Namespace) -> int:
    docker = find_engine(cache)
    if docker is None:
        raise DevError("no Docker engine answers", do="hack/engine up")
    for name, value in docker.env.items():
        print(f"export {name}={shlex.quote(value)}")
    program = _compose(docker, cache=cache, steps=steps, build=options.compose)
    if program is not None:
        config = plugin_config(program, cache=cache, config=user_config())
        print("# for `docker compose`; links to your own configuration, logins stay where they are")
        print(f"export DOCKER_CONFIG={shlex.quote(str(config))}")
    return 0


def _compose(docker: Docker, *, cache: Cache, steps: Steps, build: bool) -> Path | None:
    """Return the program to plug into docker where it has no Compose; built only on request, it takes minutes."""
    found = installed(docker)
    if found is not None:
        return Path(found[0]) if len(found) == 1 else None
    return gotools.build(PLUGIN, cache=cache, steps=steps) if build else built(cache)


COMMANDS = {"up": _up, "down": _down, "status": _status, "env": _env}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="hack/engine", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("up", help="make sure that an engine answers: the machine's own, else one started here")
    down = commands.add_parser("down", help="stop the engine that was started here, and leave nothing of it")
    down.add_argument("--purge", action="store_true", help="remove its images, volumes and build cache as well")
    commands.add_parser("status", help="say which engine answers; status 1 when none does")
    env = commands.add_parser("env", help='what a shell needs to use it: eval "$(hack/engine env)"')
    env.add_argument("--compose", action="store_true", help="build `docker compose` where docker has none (minutes)")
    return parser
