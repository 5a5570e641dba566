"""From nothing to a cluster that is ready, and back when something ends it early."""

import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from devcluster import (
    cluster_nodes,
    cluster_ready,
    cluster_state,
    fake_gpus,
    ingress,
    kind_config,
    kind_process,
    kube,
    machine_settings,
    node_image,
    pod_network,
    ports,
    versions,
)
from devcluster.cache import Cache
from devcluster.cluster_state import ClusterFacts
from devcluster.docker import Docker
from devcluster.errors import DevError
from devcluster.kube import Kube
from devcluster.steps import Steps
from devcluster.undoing import deferred, uninterrupted

DEFAULT_NODES = 3
NODE_GIGABYTES = 1.5
"""What a node takes before anything of a user's is on it (measured: 1.0 GB), and some room."""


@dataclass(frozen=True, slots=True)
class ClusterRequest:
    """What was asked for; ``None`` is the default for a new cluster and "as it is" for one that is there."""

    name: str
    nodes: int | None = None
    kubernetes: str | None = None
    ingress_port: int | None = None
    fake_gpus: int | None = None


@dataclass(frozen=True, slots=True)
class Parts:
    """What a cluster is made with, all of it there: a program, and images in the engine."""

    kind: Path
    kubectl: Path
    node_image: str
    ingress_image: str


def create(request: ClusterRequest, *, docker: Docker, cache: Cache, steps: Steps) -> ClusterFacts:
    """Make a cluster; whatever ends this early, nothing stays of it but, after an error, its logs."""
    try:
        return _create(request, docker=docker, cache=cache, steps=steps)
    except BaseException as error:
        _undo(request.name, error=error, docker=docker, cache=cache, steps=steps)
        raise


def _create(request: ClusterRequest, *, docker: Docker, cache: Cache, steps: Steps) -> ClusterFacts:
    if request.ingress_port is not None:
        ports.require_free(request.ingress_port)
    version = request.kubernetes or versions.KUBERNETES
    nodes = request.nodes or DEFAULT_NODES
    node_image.require_engine_space(docker, nodes * NODE_GIGABYTES, purpose=f"a cluster of {nodes}")
    parts = _parts(version, docker=docker, cache=cache, steps=steps)
    facts = ClusterFacts(
        name=request.name,
        nodes=nodes,
        kubernetes=version,
        node_image=parts.node_image,
        ingress_port=0,
        fake_gpus=request.fake_gpus or 0,
        kubeconfig=cluster_state.folder(cache, request.name) / "kubeconfig",
        kubectl=parts.kubectl,
        docker_env=engine_address(docker),
        ingress_image=parts.ingress_image,
    )
    facts = _registered(facts, request.ingress_port, cache=cache, steps=steps)
    _start_nodes(facts, kind=parts.kind, docker=docker, cache=cache, steps=steps)
    _equip(facts, docker=docker, steps=steps)
    facts = replace(facts, ready=True)
    cluster_state.save(cache, facts)
    return facts


def renew(facts: ClusterFacts, *, docker: Docker, cache: Cache, steps: Steps) -> ClusterFacts:
    """Make sure that a cluster which is there works, and put back what is missing in it."""
    steps.say(f"cluster {facts.name} is there: making sure that all of it works")
    client = Kube(facts.kubectl, facts.kubeconfig)
    try:
        cluster_ready.await_api(client)
        _equip(facts, docker=docker, steps=steps)
    except DevError as error:
        raise DevError(
            f"cluster {facts.name} does not work: {error.what}",
            do=f"{error.do}; or begin anew: hack/cluster down --name {facts.name} && "
            f"hack/cluster up --name {facts.name}",
        ) from error
    cluster_state.save(cache, facts)
    return facts


def _parts(version: str, *, docker: Docker, cache: Cache, steps: Steps) -> Parts:
    """Find, pull or build everything before anything of the cluster is there."""
    image = node_image.node_image(docker, version=version, cache=cache, steps=steps)
    return Parts(
        kind=kube.kind_program(cache=cache, steps=steps),
        kubectl=kube.kubectl_for(version, cache=cache, steps=steps),
        node_image=image,
        ingress_image=ingress.traefik_image(docker, node_image=image, cache=cache, steps=steps),
    )


def _registered(facts: ClusterFacts, asked: int | None, *, cache: Cache, steps: Steps) -> ClusterFacts:
    """Choose the ingress' port and write the cluster down, before another command could choose the same."""
    with cache.lock("clusters"):
        others = (cluster_state.load(cache, name) for name in cluster_state.names(cache))
        reserved = {other.ingress_port for other in others if other is not None and other.name != facts.name}
        port = ports.free_port(reserved=reserved) if asked is None else ports.require_free(asked)
        facts = replace(facts, ingress_port=port)
        machine_settings.prepare(cache, steps=steps)
        cluster_state.save(cache, facts)
    return facts


def _start_nodes(facts: ClusterFacts, *, kind: Path, docker: Docker, cache: Cache, steps: Steps) -> None:
    config = cluster_state.folder(cache, facts.name) / "kind.json"
    config.write_text(
        kind_config.kind_config(
            nodes=facts.nodes,
            ingress_port=facts.ingress_port,
            own_pod_network=node_image.is_built(facts.node_image),
        )
    )
    environment = {
        **docker.env,
        "KIND_EXPERIMENTAL_PROVIDER": "docker",
        "KIND_EXPERIMENTAL_DOCKER_NETWORK": facts.network,
    }
    plural = "s" if facts.nodes > 1 else ""
    with steps.step(f"creating {facts.nodes} node{plural} of Kubernetes {facts.kubernetes}") as log:
        with deferred():
            cluster_nodes.create_network(docker, facts.name)
        kind_process.create(facts, kind=kind, config=config, env=environment, log=log)


def _equip(facts: ClusterFacts, *, docker: Docker, steps: Steps) -> None:
    """Give a cluster what kind does not; doing it again puts back what is missing and changes nothing else."""
    client = Kube(facts.kubectl, facts.kubeconfig)
    control_plane = f"{facts.name}-control-plane"
    with steps.step("installing pod network and ingress controller") as log:
        if node_image.is_built(facts.node_image):
            pod_network.connect(docker, client)
        ingress.install(docker, client, image=facts.ingress_image, node=control_plane, log=log)
        fake_gpus.claim(client, gpus=facts.fake_gpus)
    with steps.step("waiting for nodes, DNS, volumes and ingress"):
        nodes = [node.name for node in cluster_nodes.containers(docker, facts.name)]
        cluster_ready.await_ready(client, docker, nodes=nodes)
        ingress.await_answer(facts.ingress_port)


def _undo(name: str, *, error: BaseException, docker: Docker, cache: Cache, steps: Steps) -> None:
    """Remove what was begun; an interruption leaves nothing at all, an error leaves its logs."""
    folder = cluster_state.folder(cache, name)
    failed = isinstance(error, Exception)
    try:
        with uninterrupted():
            if cluster_nodes.anything(docker, name):
                with steps.step(f"removing what was begun of cluster {name}"):
                    if failed:
                        cluster_nodes.keep_logs(docker, name, folder / "logs")
                    cluster_nodes.remove(docker, name)
            cluster_state.forget(cache, name)
            machine_settings.give_back(cache)
            if not failed:
                shutil.rmtree(folder, ignore_errors=True)
    except DevError as second:
        raise DevError(
            f"{error}\nand what was begun of cluster {name} could not be removed: {second.what}",
            do=f"when the Docker engine answers again: hack/cluster down --name {name}",
        ) from error


def engine_address(docker: Docker) -> dict[str, str]:
    """Return what leads to the engine from a shell whose environment may be another one."""
    host = docker.env.get("DOCKER_HOST") or os.environ.get("DOCKER_HOST")
    return {"DOCKER_HOST": host} if host else {}
