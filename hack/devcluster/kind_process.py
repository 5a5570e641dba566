"""Running `kind create cluster`, and ending it in a way that leaves nothing on its way."""

import os
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

from devcluster import processes
from devcluster.cluster_nodes import CLUSTER_LABEL
from devcluster.cluster_state import ClusterFacts
from devcluster.commands import shown, tail
from devcluster.errors import DevError
from devcluster.processes import Process

CREATE_SECONDS = 600.0
SETTLE_SECONDS = 60.0


def create(facts: ClusterFacts, *, kind: Path, config: Path, env: Mapping[str, str], log: Path) -> None:
    """Run `kind create cluster` with its output in ``log``; ``env`` is added to this process's environment.

    However this ends, kind and what it started have ended too.
    """
    # --retain: what failed is removed by the caller, after its logs were kept.
    command = (
        str(kind), "create", "cluster", "--name", facts.name, "--config", str(config), "--image", facts.node_image,
        "--kubeconfig", str(facts.kubeconfig), "--retain", "--wait", "0s",
    )  # fmt: skip
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **env},
            start_new_session=True,
        )
    try:
        status = process.wait(CREATE_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise DevError(f"`{shown(command)}` took longer than {CREATE_SECONDS:g} s\n{tail(log)}", do=_DO) from error
    finally:
        process.kill()
        process.wait()
        settle(facts)
    if status != 0:
        raise DevError(f"`{shown(command)}` ended with status {status}\n{tail(log)}", do=_DO)


_DO = "read this log, and those of the nodes beside it"


def settle(facts: ClusterFacts) -> None:
    """End what still makes a cluster whose maker was killed, and wait until no node of it is on its way.

    An engine makes a container to the end when its client is gone, and shows it only then (it copies the node's /var
    first). So a `docker run` is not killed but waited for; kind and its other commands are killed.
    """
    for process in processes.running():
        if _makes(process, facts):
            processes.end(process, seconds=1)
    deadline = time.monotonic() + SETTLE_SECONDS
    while any(f"{CLUSTER_LABEL}={facts.name}" in process.arguments for process in processes.running()):
        if time.monotonic() > deadline:
            raise DevError(
                f"a node of cluster {facts.name} is still being made after {SETTLE_SECONDS:g} s",
                do="see what the Docker engine does (`docker info`); then run this again",
            )
        time.sleep(0.1)  # these are no children of this process, and they end within seconds


def _makes(process: Process, facts: ClusterFacts) -> bool:
    """Tell whether a process is the kind of this very cluster, and not of somebody's own with that name."""
    return process.names("kind") and process.option("--kubeconfig") == str(facts.kubeconfig)
