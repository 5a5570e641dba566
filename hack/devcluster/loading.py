"""Images from the engine onto nodes: only what a node does not have, one copy out of the engine for all nodes."""

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from devcluster.docker import Docker
from devcluster.errors import DevError
from devcluster.streams import pour

_NAMESPACE = "--namespace=k8s.io"
# One command per node: what each name stands for there (a manifest or an index), and what that says.
_ASK = f"""
for name in "$@"; do
  digest=$(ctr {_NAMESPACE} images list "name==$name" | awk 'NR == 2 {{ print $3 }}')
  [ -n "$digest" ] || continue
  printf '%s %s ' "$name" "$digest"
  ctr {_NAMESPACE} content get "$digest" | tr -d '\\n'
  echo
done
"""


def load(docker: Docker, references: Sequence[str], *, nodes: Sequence[str], log: Path) -> list[str]:
    """Load images into the nodes that lack them; returns those that some node lacked.

    Raises :class:`DevError` for one that the engine does not have, before anything is copied.
    """
    wanted = {reference: _engine_id(docker, reference) for reference in dict.fromkeys(references)}

    def lacking(node: str) -> list[str]:
        present = _present(docker, node, [normalised(reference) for reference in wanted])
        return [name for name, digest in wanted.items() if digest not in present.get(normalised(name), ())]

    with ThreadPoolExecutor(len(nodes)) as pool:
        missing = dict(zip(nodes, pool.map(lacking, nodes), strict=True))
    images = list(dict.fromkeys(name for names in missing.values() for name in names))
    if images:
        sinks = [_import_command(docker, node) for node, names in missing.items() if names]
        pour((docker.binary, "save", *images), sinks, env=docker.env, log=log)
    return images


def normalised(reference: str) -> str:
    """Write a reference as containerd does: with its registry and its tag ("docker.io/library/nginx:latest")."""
    name = reference
    first = name.split("/")[0]
    if "/" not in name:
        name = f"docker.io/library/{name}"
    elif "." not in first and ":" not in first and first != "localhost":
        name = f"docker.io/{name}"
    return name if ":" in name.rpartition("/")[2] or "@" in name else f"{name}:latest"


def digests(answer: str) -> dict[str, set[str]]:
    """Read a node's answer: every digest that each image is known by there.

    An engine names an image by its configuration (the classic store) or by its manifest or index (the containerd
    store), so all of them count. Each line: name, digest of what the name stands for, and that as JSON.
    """
    found: dict[str, set[str]] = {}
    for line in answer.splitlines():
        name, digest, document = line.split(" ", 2)
        content: Mapping[str, Any] = json.loads(document)
        entries = [content["config"]] if "config" in content else content.get("manifests", [])
        found[name] = {digest, *(entry["digest"] for entry in entries)}
    return found


def _engine_id(docker: Docker, reference: str) -> str:
    digest = docker.image_id(reference)
    if digest is None:
        raise DevError(
            f"the Docker engine has no image {reference}",
            do="build or pull it first (`docker images` lists what is there)",
        )
    return digest


def _present(docker: Docker, node: str, names: Sequence[str]) -> dict[str, set[str]]:
    return digests(docker.capture("exec", node, "sh", "-c", _ASK, "sh", *names))


def _import_command(docker: Docker, node: str) -> list[str]:
    return [
        docker.binary, "exec", "--interactive", node,
        "ctr", _NAMESPACE, "images", "import", "--all-platforms", "--no-unpack", "-",
    ]  # fmt: skip
