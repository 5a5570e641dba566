"""`hack/cluster up | down | load | status | kubeconfig | env`: Kubernetes on this machine, whatever it has."""

import argparse
import shlex
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from devcluster import cluster, cluster_state, cluster_status, gotools, kind_config, product_images
from devcluster.cache import Cache
from devcluster.cluster_making import DEFAULT_NODES, ClusterRequest, engine_address
from devcluster.cluster_state import CONTROL_PLANE, ClusterFacts
from devcluster.commands import raise_on_signals
from devcluster.docker import Docker, answering
from devcluster.engine import ensure_engine, explained, find_engine, stop_engine
from devcluster.engine_place import Place
from devcluster.errors import DevError, Interrupted
from devcluster.steps import Steps

DEFAULT_NAME = "streamstack"


@dataclass(frozen=True, slots=True)
class Progress:
    """Steps by where their logs go: a cluster's own folder, which goes with it, and the one of what belongs to none."""

    cluster: Steps
    engine: Steps


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0 when it did its work, 1 with an error on standard error, 130 when interrupted."""
    options = _parser().parse_args(arguments)
    raise_on_signals()
    try:
        cache = Cache()
        if options.name is not None:
            kind_config.require_name(options.name)
        progress = Progress(
            cluster=Steps(cluster_state.folder(cache, options.name or DEFAULT_NAME) / "logs"), engine=Steps(cache.logs)
        )
        with explained(cache):
            return COMMANDS[options.command](options, cache, progress)
    except DevError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except Interrupted as interrupted:
        print(f"interrupted by {interrupted.signal_name}; what was begun is undone", file=sys.stderr)
        return 130


def _up(options: argparse.Namespace, cache: Cache, progress: Progress) -> int:
    if options.control_plane:
        return _up_control_plane(options, cache, progress)
    request = ClusterRequest(
        options.name,
        nodes=options.nodes,
        kubernetes=options.k8s_version,
        ingress_port=options.ingress_port,
        fake_gpus=options.fake_gpus,
    )
    cluster.require_valid(request)
    started_here = find_engine(cache) is None
    docker = _engine_for(options.name, cache, progress)
    try:
        facts = cluster.up(request, docker=docker, cache=cache, steps=progress.cluster)
    except BaseException:
        if started_here:
            stop_engine(cache, steps=progress.engine)
        raise
    progress.cluster.say(f"cluster {facts.name} is ready")
    print("\n".join(_next_steps(facts)))
    return 0


def _up_control_plane(options: argparse.Namespace, cache: Cache, progress: Progress) -> int:
    from devcluster import control_plane

    for option in ("nodes", "k8s_version", "ingress_port", "fake_gpus"):
        if getattr(options, option) is not None:
            raise DevError(
                f"--{option.replace('_', '-')} does not go with --control-plane: it has neither nodes nor an ingress",
                do="leave one of the two out",
            )
    facts = control_plane.up(options.name, cache=cache, steps=progress.cluster)
    print(f"export KUBECONFIG={shlex.quote(str(facts.kubeconfig))}")
    return 0


def _down(options: argparse.Namespace, cache: Cache, progress: Progress) -> int:
    if cluster_state.sort_of(cache, options.name) == CONTROL_PLANE:
        from devcluster import control_plane

        control_plane.down(options.name, cache=cache, steps=progress.cluster)
    else:
        _down_kind(options, cache, progress)
    if options.engine:
        stop_engine(cache, steps=progress.engine)
    return 0


def _down_kind(options: argparse.Namespace, cache: Cache, progress: Progress) -> None:
    facts = cluster_state.load(cache, options.name)
    docker = _engine_of(options.name, cache) if facts else find_engine(cache)
    started_here = False
    if docker is None and facts is not None:
        if facts.docker_env.get("DOCKER_HOST") != Place.of(cache).host:
            raise DevError(
                f"the Docker engine of cluster {options.name} does not answer: {_address(facts)}",
                do="start it; its containers are still there",
            )
        started_here = True  # our own engine, stopped: its containers are in its data, and go with it running
        docker = ensure_engine(cache, steps=progress.engine)
    try:
        if docker is None:
            shutil.rmtree(cluster_state.folder(cache, options.name), ignore_errors=True)  # logs of one that failed
        if docker is None or not cluster.down(options.name, docker=docker, cache=cache, steps=progress.cluster):
            progress.cluster.say(f"there is no cluster {options.name}")
    finally:
        if started_here:
            stop_engine(cache, steps=progress.engine)


def _load(options: argparse.Namespace, cache: Cache, progress: Progress) -> int:
    facts = cluster.require(options.name, cache=cache)
    images = options.image or [
        product_images.reference(each.name) for each in product_images.selected([], everything=False)
    ]
    loaded = cluster.load(facts.name, images, docker=_required_engine(facts), cache=cache, steps=progress.cluster)
    progress.cluster.say(f"loaded {', '.join(loaded)}" if loaded else "every node has them already")
    return 0


def _status(options: argparse.Namespace, cache: Cache, _progress: Progress) -> int:
    names = [options.name] if options.name else cluster_state.names(cache)
    if not names or (options.name and cluster_state.sort_of(cache, options.name) is None):
        print(f"there is no cluster{f' {options.name}' if options.name else ''}")
        return 1
    reports = [_status_of(name, cache) for name in names]
    print("\n".join(line for report in reports for line in report.lines))
    return 0 if all(report.healthy for report in reports) else 1


def _status_of(name: str, cache: Cache) -> cluster_status.ClusterStatus:
    facts = cluster_state.load(cache, name)
    if facts is not None:
        return cluster_status.status(facts, docker=answering(facts.docker_env))
    from devcluster import control_plane

    answer = control_plane.status(name, cache=cache)
    return cluster_status.ClusterStatus([f"{name}: {answer.says}"], healthy=answer.healthy)


def _kubeconfig(options: argparse.Namespace, cache: Cache, _progress: Progress) -> int:
    path = cluster_state.kubeconfig(cache, options.name)
    print(path.read_text() if options.content else path)
    return 0


def _env(options: argparse.Namespace, cache: Cache, _progress: Progress) -> int:
    path = cluster_state.kubeconfig(cache, options.name)
    exports = {"KUBECONFIG": str(path)}
    facts = cluster_state.load(cache, options.name)
    if facts is not None:
        exports |= {**facts.docker_env, "KUBECTL": str(facts.kubectl), "INGRESS_PORT": str(facts.ingress_port)}
    for name, value in exports.items():
        print(f"export {name}={shlex.quote(value)}")
    helm = cache.place("tools", gotools.tool_key("helm")) / "helm"
    folders = _missing_on_path([helm] if facts is None else [facts.kubectl, helm])
    if folders:
        print(f'export PATH={shlex.quote(":".join(folders))}:"$PATH"')
    return 0


def _missing_on_path(programs: Sequence[Path]) -> list[str]:
    """Return folders of programs that were built here because the machine has none, or an older one."""
    return [str(path.parent) for path in programs if path.exists() and not _is_found(path)]


def _is_found(program: Path) -> bool:
    """Tell whether a shell that types the name gets this program, or an own Helm; a kubectl may be too old."""
    found = shutil.which(program.name)
    return found is not None and (program.name == "helm" or Path(found).samefile(program))


def _engine_of(name: str, cache: Cache) -> Docker | None:
    """Return the engine that a cluster was made with, if there is one and it answers."""
    facts = cluster_state.load(cache, name)
    return None if facts is None else answering(facts.docker_env)


def _engine_for(name: str, cache: Cache, progress: Progress) -> Docker:
    """Return the engine of a cluster that is there, else any, started where there is none."""
    facts = cluster_state.load(cache, name)
    found = None if facts is None else answering(facts.docker_env)
    docker = found or ensure_engine(cache, steps=progress.engine)
    if facts is not None and facts.docker_env != engine_address(docker):
        raise DevError(
            f"cluster {name} was made with the Docker engine at {_address(facts)}, which does not answer; another does",
            do=f"start that one, or forget the cluster: rm -r {cluster_state.folder(cache, name)}",
        )
    return docker


def _required_engine(facts: ClusterFacts) -> Docker:
    docker = answering(facts.docker_env)
    if docker is None:
        raise DevError(
            f"the Docker engine of cluster {facts.name} does not answer: {_address(facts)}",
            do=f"hack/cluster up --name {facts.name}",
        )
    return docker


def _address(facts: ClusterFacts) -> str:
    return facts.docker_env.get("DOCKER_HOST") or "the machine's own"


def _next_steps(facts: ClusterFacts) -> list[str]:
    name = "" if facts.name == DEFAULT_NAME else f" --name {facts.name}"
    nodes = f"{facts.nodes} node{'s' if facts.nodes > 1 else ''}"
    return [
        f"Kubernetes {facts.kubernetes} on {nodes}, volumes by StorageClass standard",
        f"  https://127.0.0.1:{facts.ingress_port} is its ingress (class traefik)",
        f"  export KUBECONFIG={shlex.quote(str(facts.kubeconfig))}",
        f"  {facts.kubectl} get nodes",
        f"  hack/cluster load{name} IMAGE...    images from the Docker engine into the nodes",
        f"  hack/cluster down{name}             away with it",
    ]


COMMANDS = {"up": _up, "down": _down, "load": _load, "status": _status, "kubeconfig": _kubeconfig, "env": _env}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="hack/cluster", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, text: str, *, default: str | None = DEFAULT_NAME) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text)
        added.add_argument("--name", default=default, help="the cluster's name (default: %(default)s)")
        return added

    up = command("up", "make a cluster with kind, or make sure that the one of this name works")
    up.add_argument("--nodes", type=int, help=f"one control plane, the rest workers (default: {DEFAULT_NODES})")
    up.add_argument("--k8s-version", metavar="VERSION", help="as in v1.36.3; another than the default needs a registry")
    up.add_argument("--ingress-port", type=int, metavar="PORT", help="HTTPS on 127.0.0.1 (default: 8443, or the next)")
    up.add_argument("--fake-gpus", type=int, metavar="N", help="nvidia.com/gpu that each schedulable node claims")
    up.add_argument("--control-plane", action="store_true", help="etcd, API server and controllers alone, as processes")
    down = command("down", "remove a cluster; no error when there is none")
    down.add_argument("--engine", action="store_true", help="stop the Docker engine as well, if it was started by us")
    load = command("load", "copy images from the Docker engine into the nodes that lack them")
    load.add_argument("image", nargs="*", metavar="IMAGE", help="default: what `make images` builds")
    command("status", "how a cluster is, or all of them; status 1 when something is wrong", default=None)
    kubeconfig = command("kubeconfig", "print the path of a cluster's kubeconfig")
    kubeconfig.add_argument("--content", action="store_true", help="print what is in it")
    command("env", 'what a shell needs to use a cluster: eval "$(hack/cluster env)"')
    return parser
