"""Every CEL rule of the model, said again in Python, for ``checks``."""

import re
from collections.abc import Callable, Mapping, Sequence
from ipaddress import IPv6Network, ip_network
from typing import Any, Final

from streamstack_operator.model.archive import NO_BLOCKS, NOWHERE_FROM, TWO_STORES, WAY_OUT, ModelArchive, ModelStore
from streamstack_operator.model.base import Part
from streamstack_operator.model.gateway import Gateway
from streamstack_operator.model.ingress import ADDRESS, HOST_MESSAGE, HttpRoute, Ingress
from streamstack_operator.model.license import Authority, License
from streamstack_operator.model.pool import (
    KNOWN_MODELS,
    MODELS_BY_POOL,
    OTHER_ENGINE,
    TAKEN_FOLDER,
    TAKEN_FOLDERS,
    TWO_MODELS,
    Engine,
    ModelVolume,
    Pool,
)
from streamstack_operator.model.spec import StreamingStackSpec
from streamstack_operator.model.workload import (
    Autoscaling,
    EnvVar,
    Resources,
    TaintEffect,
    Toleration,
    TolerationOperator,
)
from streamstack_operator.quantity import amount


def _requests_fit(part: Resources) -> bool:
    return all(amount(part.requests[name]) <= amount(part.limits[name]) for name in part.requests.keys() & part.limits)


def _buffers_fit(part: Gateway) -> bool:
    memory = part.resources.limits.get("memory")
    return memory is None or amount(memory) > part.limits.buffer_megabytes * 2**20


def _is_address(host: str) -> bool:
    return re.fullmatch(ADDRESS, host) is not None


def _is_block(block: str) -> bool:
    """As CEL's isCIDR, which takes no IPv4 address written as one of IPv6."""
    try:
        network = ip_network(block, strict=False)
    except ValueError:
        return False
    return not isinstance(network, IPv6Network) or network.network_address.ipv4_mapped is None


def _has_nemotrons_own(pool: Pool) -> bool:
    own = (pool.model_archive, pool.model_license, pool.chunk_ms, pool.precision)
    return any(value is not None for value in own)


def _routing_name(pool: Pool) -> str:
    """As ``Pool.routing_name``, also of a pool without one: that is another rule's to say."""
    return pool.model or MODELS_BY_POOL.get(pool.name, pool.name)


def _differ(names: Sequence[str]) -> bool:
    return len(set(names)) == len(names)


def _known(spec: StreamingStackSpec) -> set[str]:
    return KNOWN_MODELS.keys() | {pool.model for pool in spec.pools if pool.model}


def _aliases_lead_somewhere(spec: StreamingStackSpec) -> bool:
    return _known(spec).issuperset(spec.gateway.model_aliases.values())


def _fallbacks_lead_somewhere(spec: StreamingStackSpec) -> bool:
    known, fallbacks = _known(spec), spec.gateway.model_fallbacks
    return (known | {"*"}).issuperset(fallbacks) and (known | {"default"}).issuperset(fallbacks.values())


def _default_has_a_pool(spec: StreamingStackSpec) -> bool:
    default = spec.gateway.model_default
    routed = {KNOWN_MODELS.get(name, name) for name in map(_routing_name, spec.pools)}
    return default is None or KNOWN_MODELS.get(default, default) in routed


TWINS: Final[Mapping[type[Part], Mapping[str, Callable[[Any], bool]]]] = {
    Resources: {"requests must not be above limits": _requests_fit},
    Toleration: {
        "value must be left out with Exists": lambda it: it.operator is TolerationOperator.EQUAL or it.value is None,
        "key is required with Equal": lambda it: it.operator is TolerationOperator.EXISTS or it.key is not None,
        "tolerationSeconds needs the effect NoExecute": lambda it: (
            it.toleration_seconds is None or it.effect is TaintEffect.NO_EXECUTE
        ),
    },
    EnvVar: {
        "expected exactly one of value and secretKeyRef": lambda it: (it.value is None) != (it.secret_key_ref is None)
    },
    Autoscaling: {"minReplicas must not be above maxReplicas": lambda it: it.min_replicas <= it.max_replicas},
    Gateway: {
        "limits.maxSessions must not be below capacity": lambda it: (
            it.limits.max_sessions is None or it.limits.max_sessions >= it.capacity
        ),
        "limits.maxConnections must not be below capacity": lambda it: it.limits.max_connections >= it.capacity,
        "limits.bufferMegabytes must be below the memory limit: a pod that fills its buffers would be killed": (
            _buffers_fit
        ),
    },
    Authority: {
        "an endpoint without TLS needs insecure: true": lambda it: (
            it.endpoint is None or not it.endpoint.startswith("http://") or it.insecure
        ),
    },
    License: {
        "storageClassName must be left out with ephemeral: there is no claim": lambda it: (
            not it.ephemeral or it.storage_class_name is None
        ),
    },
    ModelVolume: {
        TAKEN_FOLDER: lambda it: re.fullmatch(TAKEN_FOLDERS, it.mount_path) is None,
        "subPath must not contain '..'": lambda it: it.sub_path is None or ".." not in it.sub_path.split("/"),
    },
    ModelStore: {
        TWO_STORES: lambda it: it.claim_name is None or it.host_path is None,
        WAY_OUT: lambda it: it.host_path is None or ".." not in it.host_path.split("/"),
    },
    ModelArchive: {
        NO_BLOCKS: lambda it: all(map(_is_block, it.addresses)),
        NOWHERE_FROM: lambda it: bool(it.addresses or it.store.claim_name or it.store.host_path),
    },
    Pool: {
        "model is required for a pool that is not named english, multilingual or pro": lambda it: (
            it.model is not None or it.name in MODELS_BY_POOL
        ),
        "lb is the balancer's name: expected another": lambda it: it.name != "lb",
        OTHER_ENGINE: lambda it: it.engine is Engine.NEMOTRON or not _has_nemotrons_own(it),
        TWO_MODELS: lambda it: it.model_volume is None or it.model_archive is None,
    },
    Ingress: {HOST_MESSAGE: lambda it: not _is_address(it.host)},
    HttpRoute: {HOST_MESSAGE: lambda it: not any(map(_is_address, it.hostnames))},
    StreamingStackSpec: {
        "pool names must differ": lambda it: _differ([pool.name for pool in it.pools]),
        "models of pools must differ: of two pools with one model the gateways would know one": lambda it: _differ(
            [_routing_name(pool) for pool in it.pools]
        ),
        "expected every alias to name a model that a pool or the gateways themselves know": _aliases_lead_somewhere,
        "expected every fallback to lead from a model that is known, or *, to one that is known, or default": (
            _fallbacks_lead_somewhere
        ),
        "expected the default to be the model of a pool": _default_has_a_pool,
    },
}
"""The rules of each part, by their messages."""
