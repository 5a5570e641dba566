"""Taking away what an engine of ours leaves on a machine, whether it stopped or was killed.

Nothing here asks the engine: it may be dead. Every part is told from others' by our folder, our cgroup, or by what was
there before the engine started.
"""

import hashlib
import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

from devcluster import interfaces, mounts, netfilter, processes, sysctls
from devcluster.commands import attempt
from devcluster.engine_place import RUNTIME_FOLDERS, Before, Place, saved_rules
from devcluster.errors import DevError
from devcluster.interfaces import ADMIN_PATH
from devcluster.netfilter import Bridge

END_SECONDS = 20.0
SHIM_SOCKETS = Path("/run/containerd/s")


def sweep(place: Place, before: Before, *, log: Path) -> None:
    """Take away processes, mounts, rules, interfaces, settings, cgroups and sockets; what it cannot, it names.

    The engine itself has ended. Repeating it is harmless; raises :class:`DevError` when something stays.
    """
    problems = [
        *_end_processes(place),
        *_unmount(place),
        *_network(place, before, log=log),
        *_remove_cgroups(place),
    ]
    sysctls.restore(before.sysctls)
    _remove_sockets(place, before)
    shutil.rmtree(place.exec_root, ignore_errors=True)
    for file in (place.socket, place.pid_file):
        file.unlink(missing_ok=True)
    if problems:
        raise DevError(
            "the Docker engine is stopped, and this stays of it:\n" + "\n".join(f"    {line}" for line in problems),
            do=f"read {log}; then `hack/engine down` again",
        )
    place.before.unlink(missing_ok=True)


def _end_processes(place: Place) -> list[str]:
    """Kill containers, then their shims: an engine that stopped by itself left none, a killed one left all."""

    def left() -> list[int]:
        folder = f"{place.exec_root}/"
        shims = [p.pid for p in processes.running() if any(word.startswith(folder) for word in p.arguments)]
        return [*_container_pids(place), *shims]

    def gone() -> bool:
        pids = left()
        for pid in pids:
            _kill(pid)
        return not pids

    return [] if _wait(gone) else [f"process {pid}" for pid in left()]


def _container_pids(place: Place) -> list[int]:
    files = [file for group in _cgroups(place) for file in group.rglob("cgroup.procs")]
    return sorted({int(line) for file in files for line in _lines(file)})


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text().split()
    except OSError:  # the cgroup went meanwhile; or, in version 2, is one of threads, whose parent lists them
        return []


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _cgroups(place: Place) -> list[Path]:
    """Return our cgroup in every hierarchy that has it."""
    return [group for root in mounts.cgroup_roots() if (group := root / place.cgroup).is_dir()]


def _unmount(place: Place) -> list[str]:
    """Unmount what is under our folder, innermost first: overlays, shm, network namespaces, the data root on itself."""
    inside = [mount.point for mount in mounts.read() if mount.point.is_relative_to(place.folder)]
    refused = [(point, reason) for point in reversed(inside) if (reason := mounts.unmount(point))]
    return [f"mount {point}: {reason}" for point, reason in refused]


def _network(place: Place, before: Before, *, log: Path) -> list[str]:
    bridges = [name for name in interfaces.bridges() if name not in before.interfaces and _is_ours(name, place)]
    _undo_rules(before, bridges=[Bridge(name, interfaces.subnets(name)) for name in bridges], log=log)
    remaining = netfilter.undo(netfilter.parse(before.rules), netfilter.parse(saved_rules()), bridges=[])
    problems = [f"rule: iptables {' '.join(call)}" for call in remaining]
    ports = [port for bridge in bridges for port in interfaces.ports(bridge) if port not in before.interfaces]
    for name in [*ports, *bridges]:
        problem = interfaces.delete(name)
        if problem:
            problems.append(f"interface {name}: {problem}")
    return problems


def _undo_rules(before: Before, *, bridges: list[Bridge], log: Path) -> None:
    was = netfilter.parse(before.rules)
    with log.open("a") as output:
        for call in netfilter.undo(was, netfilter.parse(saved_rules()), bridges=bridges):
            status, _, errors = attempt(("iptables", "-w", *call), env=ADMIN_PATH)
            print(f"iptables {' '.join(call)}: {errors.strip() or status}", file=output)
        # Only the nf_tables variant of iptables makes tables, and only nft can remove them; elsewhere they stay, empty.
        if "nf_tables" in attempt(("iptables", "--version"), env=ADMIN_PATH)[1]:
            for table in netfilter.emptied(was, netfilter.parse(saved_rules())):
                status, _, errors = attempt(("nft", "delete", "table", "ip", table), env=ADMIN_PATH)
                print(f"nft delete table ip {table}: {errors.strip() or status}", file=output)


def _is_ours(bridge: str, place: Place) -> bool:
    """Recognise docker0, and bridges whose name or network is in the engine's own store of networks."""
    store = place.data / "network" / "files" / "local-kv.db"
    known = store.read_bytes() if store.exists() else b""
    return bridge == "docker0" or bridge.removeprefix("br-").encode() in known


def _remove_cgroups(place: Place) -> list[str]:
    """Remove our cgroups, innermost first; their last processes may still be leaving."""

    def gone() -> bool:
        for group in _cgroups(place):
            for inner in sorted((path for path in group.rglob("*") if path.is_dir()), reverse=True):
                _rmdir(inner)
            _rmdir(group)
        return not _cgroups(place)

    return [] if _wait(gone) else [f"cgroup {group}" for group in _cgroups(place)]


def _remove_sockets(place: Place, before: Before) -> None:
    """Remove the sockets of our containers' shims, and folders that were not there before and are empty."""
    store = place.data / "containers"
    for container in store.iterdir() if store.is_dir() else ():
        # containerd 1.6 runtime/v2/shim/util_unix.go, SocketAddress: the hash of its address, namespace and id.
        address = f"{place.exec_root}/containerd/containerd.sock/moby/{container.name}"
        (SHIM_SOCKETS / hashlib.sha256(address.encode()).hexdigest()).unlink(missing_ok=True)
    for folder in RUNTIME_FOLDERS:
        if folder.is_dir() and str(folder) not in before.folders:
            _rmdir(folder)


def _rmdir(folder: Path) -> None:
    """Remove a folder if it is empty; what is in it belongs to others, or is about to go."""
    try:
        folder.rmdir()
    except OSError:
        return


def _wait(done: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + END_SECONDS
    while not done():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)  # nothing announces that a cgroup is empty
    return True
