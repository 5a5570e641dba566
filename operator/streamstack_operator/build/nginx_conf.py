"""The balancer's nginx.conf: which server a stream goes to, and how many there may be."""

import ipaddress
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from string import Template
from typing import Final

from streamstack_operator import names
from streamstack_operator.build.gateway_pod import session_limit
from streamstack_operator.build.meta import host
from streamstack_operator.facts import Stack
from streamstack_operator.model.pool import KNOWN_MODELS, MODELS_BY_POOL, Pool
from streamstack_operator.names import ASR_PORT, BALANCER_HEALTH_PORT
from streamstack_operator.quantity import amount

NAMES: Final = {
    MODELS_BY_POOL["english"]: ("en-default", "universal-streaming-english"),
    MODELS_BY_POOL["multilingual"]: ("ml-default", "universal-streaming-multilingual"),
    MODELS_BY_POOL["pro"]: ("u3-.*", "universal-3-.*"),
}
"""Patterns of what models are called, by routing name (images/asr-lb/nginx.conf). Our gateways send the name that a
pool has in the spec, aliases resolved; the others serve who talks to the balancer as to the original one."""

QUIET_HOURS: Final = 10
STREAMS_PER_SESSION: Final = 2
"""A session that moves to another server has two streams for a moment."""
NGINX_STREAMS: Final = 128
"""What nginx gives a connection by default (http2_max_concurrent_streams)."""
OTHER_CONNECTIONS: Final = 64
"""Of a worker: probes, questions to DNS, listening sockets."""
MOST_CONNECTIONS: Final = 131_072
"""Of a worker: it sets half a kilobyte aside for each when it starts, and forwards fewer streams than this."""
MOST_WORKERS: Final = 64


class _Conf(Template):
    """A template that leaves nginx's own ``$`` and ``@`` alone."""

    delimiter = "%"


TEMPLATE: Final = _Conf(resources.files(__package__).joinpath("nginx.conf.tmpl").read_text("utf-8"))


@dataclass(frozen=True, slots=True)
class Route:
    """Model versions that match ``pattern`` (the whole of it) go to ``pool``."""

    pattern: str
    pool: Pool

    def matches(self, version: str) -> bool:
        """Tell whether this route is a version's."""
        return re.fullmatch(self.pattern, version) is not None


@dataclass(frozen=True, slots=True)
class Limits:
    """What nginx must be allowed, by what the gateways can send.

    ``streams`` at once on a connection: a gateway keeps one connection, and every session of it is a stream.
    ``connections`` of a worker: every stream has one of its own to a server, and all may meet on one worker of one pod;
    revisions that drain send as well. ``requests`` of a connection in all: a session a second in every place, for as
    long as a connection is kept.
    """

    streams: int
    connections: int
    requests: int


def routes(pools: Sequence[Pool]) -> tuple[Route, ...]:
    """Return where versions go, the first match decides: pools' own models, then what else these are called."""
    found = {pool.routing_name.replace(".", "[.]"): pool for pool in pools}
    for pool in pools:
        for pattern in NAMES.get(KNOWN_MODELS.get(pool.routing_name, pool.routing_name), ()):
            found.setdefault(pattern, pool)
    return tuple(Route(pattern, pool) for pattern, pool in found.items())


def default_pool(stack: Stack) -> Pool:
    """Return the pool of the model that answers clients that name none: as the gateways choose it."""
    pools = stack.spec.pools
    wanted = stack.spec.gateway.model_default or MODELS_BY_POOL["english"]
    return next((route.pool for route in routes(pools) if route.matches(wanted)), pools[0])


def limits(stack: Stack) -> Limits:
    """Return the limits that a spec's numbers ask for."""
    gateway = stack.spec.gateway
    pods = max(gateway.replicas, gateway.autoscaling.max_replicas if gateway.autoscaling else 0)
    revisions = 1 + stack.spec.drain.max_draining_revisions
    streams = max(NGINX_STREAMS, STREAMS_PER_SESSION * session_limit(gateway))
    return Limits(
        streams=streams,
        connections=min(MOST_CONNECTIONS, pods * revisions * (streams + 1) + OTHER_CONNECTIONS),
        requests=streams * QUIET_HOURS * 3600,
    )


def configuration(stack: Stack) -> str:
    """Return the balancer's nginx.conf."""
    allowed = limits(stack)
    return TEMPLATE.substitute(
        origin=f"StreamingStack {stack.key}",
        workers=_workers(stack),
        files=allowed.connections + OTHER_CONNECTIONS,
        connections=allowed.connections,
        resolver=_resolver(stack.spec.nginx.resolver),
        routes=_map(stack),
        quiet=f"{QUIET_HOURS}h",
        streams=allowed.streams,
        requests=allowed.requests,
        port=ASR_PORT,
        health_port=BALANCER_HEALTH_PORT,
    )


def _map(stack: Stack) -> str:
    """Write the map's lines. Patterns and not words: words mean the same in any case, and some mean nginx's own."""
    lines = [("default", default_pool(stack))]
    lines += [(f"~^{route.pattern}$", route.pool) for route in routes(stack.spec.pools)]
    width = max(len(pattern) for pattern, _ in lines)
    return "\n".join(
        f"        {pattern:{width}} {host(stack, names.pool(stack.name, pool.name))};" for pattern, pool in lines
    )


def _workers(stack: Stack) -> int:
    """As many as the container has cores; nginx's own ``auto`` counts those of the node."""
    wanted = stack.spec.nginx.resources
    cores = wanted.limits.get("cpu", wanted.requests.get("cpu", 1))
    return min(MOST_WORKERS, max(1, math.ceil(amount(cores))))


def _resolver(given: str) -> str:
    """Write an IPv6 address as nginx wants it, in brackets; anything else stays as it is."""
    try:
        address = ipaddress.ip_address(given)
    except ValueError:
        return given
    return f"[{address}]" if address.version == 6 else given
