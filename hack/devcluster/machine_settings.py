"""Kernel settings of the whole machine: what clusters need is set for the first, and given back after the last."""

import json
import os
from pathlib import Path

from devcluster import cluster_state, sysctls
from devcluster.cache import Cache
from devcluster.steps import Steps
from devcluster.sysctls import PROC_SYS

INOTIFY_INSTANCES = "fs/inotify/max_user_instances"
ENOUGH_INSTANCES = 1024
"""A node takes about 15 of root's (measured: kubelet 7, systemd 4, API server 3); the kernel's default is 128."""

_NAMES = (INOTIFY_INSTANCES, *sysctls.KUBELET)


def prepare(cache: Cache, *, steps: Steps) -> None:
    """Write down the settings before the first cluster, and let enough files be watched.

    The caller holds the lock "clusters". Without root nothing can be set; a line says what to do then.
    """
    place = _place(cache)
    if not place.exists():
        place.write_text(json.dumps(_read()))
    if int(_read().get(INOTIFY_INSTANCES, ENOUGH_INSTANCES)) >= ENOUGH_INSTANCES:
        return
    if os.geteuid() == 0:
        (PROC_SYS / INOTIFY_INSTANCES).write_text(str(ENOUGH_INSTANCES))
    else:
        steps.say(
            f"{INOTIFY_INSTANCES} is low: more than about 8 nodes on this machine need "
            f"`sudo sysctl {INOTIFY_INSTANCES.replace('/', '.')}={ENOUGH_INSTANCES}`"
        )


def give_back(cache: Cache) -> None:
    """Set back what clusters changed, once there is none any more; only root can."""
    with cache.lock("clusters"):
        place = _place(cache)
        kind_clusters = [name for name in cluster_state.names(cache)
                         if cluster_state.sort_of(cache, name) == cluster_state.KIND]  # fmt: skip
        if kind_clusters or not place.exists():
            return
        if os.geteuid() == 0:
            now = _read()
            before: dict[str, str] = json.loads(place.read_text())
            for name in now.keys() & before.keys():
                if now[name] != before[name]:
                    (PROC_SYS / name).write_text(before[name])
        place.unlink()


def _read() -> dict[str, str]:
    return {name: (PROC_SYS / name).read_text().strip() for name in _NAMES if (PROC_SYS / name).exists()}


def _place(cache: Cache) -> Path:
    return cache.root / "machine-settings.json"
