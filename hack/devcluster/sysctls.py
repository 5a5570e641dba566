"""Kernel settings of the whole machine that an engine, or a node of a cluster, changes and must give back."""

from collections.abc import Mapping
from pathlib import Path

PROC_SYS = Path("/proc/sys")

ENGINE = ("net/ipv4/ip_forward", "net/bridge/bridge-nf-call-iptables", "net/bridge/bridge-nf-call-ip6tables")
"""What dockerd sets (libnetwork/drivers/bridge: setup_ip_forwarding.go, setup_bridgenetfiltering.go)."""

KUBELET = (
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
)
"""What a kubelet sets (pkg/kubelet/cm, setupKernelTunables); no namespace holds them, so a node in a container sets
the machine's."""

ALL = (*ENGINE, *KUBELET)


def read() -> dict[str, str]:
    """Return the settings' values by path under /proc/sys; those that this kernel has."""
    return {name: (PROC_SYS / name).read_text().strip() for name in ALL if (PROC_SYS / name).exists()}


def restore(before: Mapping[str, str]) -> list[str]:
    """Set back what differs from ``before``; returns the names of what was set."""
    changed = [name for name, value in read().items() if name in before and before[name] != value]
    for name in changed:
        (PROC_SYS / name).write_text(before[name])
    return changed
