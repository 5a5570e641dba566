"""Network interfaces of this network namespace, asked of the kernel by name.

/sys/class/net shows the namespace in which /sys was mounted, which need not be this one.
"""

import ipaddress
import json
import os
import socket
from typing import Any

from devcluster.commands import attempt

ADMIN_PATH = {"PATH": f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"}
"""Debian keeps dockerd, iptables and ip where a user's PATH need not lead."""


def names() -> list[str]:
    """Return the interfaces that are there."""
    return sorted(name for _, name in socket.if_nameindex())


def bridges() -> list[str]:
    """Return the interfaces that are bridges."""
    return [link["ifname"] for link in _ip("link", "show", "type", "bridge")]


def ports(bridge: str) -> list[str]:
    """Return the interfaces that are plugged into a bridge."""
    return [link["ifname"] for link in _ip("link", "show", "master", bridge)]


def subnets(name: str) -> tuple[ipaddress.IPv4Network, ...]:
    """Return the IPv4 subnets an interface has an address in."""
    return tuple(
        ipaddress.IPv4Network(f"{address['local']}/{address['prefixlen']}", strict=False)
        for link in _ip("-4", "address", "show", "dev", name)
        for address in link.get("addr_info", [])
    )


def delete(name: str) -> str | None:
    """Delete an interface; what kept it from going, ``None`` when it is gone."""
    status, _, errors = attempt(("ip", "link", "delete", name), env=ADMIN_PATH)
    return None if status == 0 or name not in names() else errors.strip()


def _ip(*arguments: str) -> list[dict[str, Any]]:
    """Ask ip(8); an interface that went meanwhile answers nothing."""
    status, output, _ = attempt(("ip", "-json", *arguments), env=ADMIN_PATH)
    found = json.loads(output) if status == 0 and output.strip() else []
    return [link for link in found if link]  # ip prints {} for what a filter left out
