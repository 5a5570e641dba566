"""Which pools there are and where their servers are found, and the string it comes in."""

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_NAME: Final = re.compile(r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?")
_MODEL: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_HOST: Final = re.compile(r"(?=.{1,253}\Z)[A-Za-z0-9_](?:[-A-Za-z0-9_.]*[A-Za-z0-9_])?\.?")
_PORT: Final = re.compile(r"[0-9]{1,5}")


class PlacementConfigError(ValueError):
    """The placement settings cannot be used; the message names the part that is wrong and what was expected."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where to look for servers: a DNS name or an IP address (IPv6 without brackets), and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_address(self) -> bool:
        """Whether ``host`` is an IP address and needs no DNS."""
        try:
            ipaddress.ip_address(self.host)
        except ValueError:
            return False
        return True


@dataclass(frozen=True, slots=True)
class PoolConfig:
    """One pool. ``model_version`` is the routing name its servers list in ``ServerStatus.models``."""

    name: str
    model_version: str
    targets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PlacementConfig:
    """All pools; with ``balancer`` (``host:port``) every session gets a link of its own through it.

    ``ca_file`` is the PEM file that servers' certificates are checked against when ``secure``; None is gRPC's own set.
    """

    pools: tuple[PoolConfig, ...]
    balancer: str | None = None
    secure: bool = False
    ca_file: Path | None = None

    def __post_init__(self) -> None:
        """Raise PlacementConfigError for what cannot work."""
        if not self.pools:
            raise PlacementConfigError("pools: expected at least one")
        names = [pool.name for pool in self.pools]
        for name in names:
            if names.count(name) > 1:
                raise PlacementConfigError(f"pool {name!r}: expected every pool once")
        if self.balancer is not None:
            parse_target(self.balancer)
            return
        for pool in self.pools:
            if not pool.targets:
                raise PlacementConfigError(f"pool {pool.name!r}: expected targets, or a balancer for all pools")


def parse_target(text: str) -> Target:
    """Parse ``host:port`` or ``[IPv6]:port``. Raises PlacementConfigError."""
    host, _, port = text.rpartition(":")
    if not _PORT.fullmatch(port) or not 1 <= int(port) <= 65535:
        raise PlacementConfigError(f"target {text!r}: expected host:port with a port from 1 to 65535")
    if host.startswith("[") and host.endswith("]"):
        try:
            ipaddress.IPv6Address(host[1:-1])
        except ValueError as error:
            raise PlacementConfigError(f"target {text!r}: expected an IPv6 address in brackets") from error
        return Target(host[1:-1], int(port))
    if not _HOST.fullmatch(host):
        raise PlacementConfigError(f"target {text!r}: expected a host name or an IP address before the port")
    return Target(host, int(port))


def parse_pools(text: str) -> tuple[PoolConfig, ...]:
    """Parse ``pool/model=host:port,host:port;pool/model=...``; targets may be left out for a balancer.

    Raises PlacementConfigError.
    """
    return tuple(_parse_pool(part.strip()) for part in text.split(";") if part.strip())


def format_pools(pools: tuple[PoolConfig, ...]) -> str:
    """Write what ``parse_pools`` reads."""
    return ";".join(
        f"{pool.name}/{pool.model_version}" + ("=" + ",".join(pool.targets) if pool.targets else "") for pool in pools
    )


def _parse_pool(text: str) -> PoolConfig:
    head, separator, tail = text.partition("=")
    name, slash, model = (part.strip() for part in head.partition("/"))
    if not slash or not _NAME.fullmatch(name) or not _MODEL.fullmatch(model):
        raise PlacementConfigError(f"pool {text!r}: expected name/model=host:port,..., name in lower case")
    targets = tuple(part.strip() for part in tail.split(",")) if separator else ()
    for target in targets:
        parse_target(target)
        if targets.count(target) > 1:
            raise PlacementConfigError(f"pool {name!r}: target {target!r}: expected every target once")
    return PoolConfig(name=name, model_version=model, targets=targets)
