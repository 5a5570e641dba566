"""The gateways' pod templates, by renderer (images/gateway/streamstack_gateway/settings.py)."""

from collections.abc import Mapping
from typing import Final

from streamstack_operator import names
from streamstack_operator.build.meta import host, labels, selector
from streamstack_operator.build.pod import (
    CREDENTIAL_FILE,
    CREDENTIAL_FOLDER,
    TOKEN_KEY,
    Volume,
    container,
    credential_volume,
    environment,
    memory_volume,
    pod_template,
    probes,
    requests_and_limits,
    secret_volume,
    temporary,
)
from streamstack_operator.facts import Manifest, Stack
from streamstack_operator.model.gateway import Gateway
from streamstack_operator.model.spec import Balancer
from streamstack_operator.names import (
    ASR_PORT,
    GATEWAY_PORT,
    INTERNAL_PORT,
    LABEL_TRAFFIC,
    LICENSE_PORT,
    TRAFFIC_ON,
    Component,
)

STATE_FOLDER: Final = "/var/lib/streamstack"
TLS_FOLDER: Final = "/run/tls"
SESSIONS_PER_CAPACITY: Final = 4
"""Connections spread by chance, so a pod refuses only well above its capacity (DESIGN 4, "Capacity, twice")."""
LEAVE_SECONDS: Final = 5
"""Who forwards connections hears a little later than the pod that it goes."""
STOP_MARGIN_SECONDS: Final = 60


def session_limit(gateway: Gateway) -> int:
    """Return the sessions at which a pod refuses new ones."""
    given = gateway.limits.max_sessions
    return SESSIONS_PER_CAPACITY * gateway.capacity if given is None else given


def template_1(stack: Stack, default_image: str, revision: str) -> Manifest:
    """Return the pod template of a revision as renderer 1 makes it."""
    return _template(stack, default_image, revision, variables=_variables(stack, revision))


def template_2(stack: Stack, default_image: str, revision: str) -> Manifest:
    """Return the pod template of a revision as renderer 2 makes it: its gateways share a license's session limit."""
    peers = {"GATEWAY_PEERS": host(stack, names.gateway_peers(stack.name))}
    return _template(stack, default_image, revision, variables=_variables(stack, revision) | peers)


def _template(stack: Stack, default_image: str, revision: str, *, variables: Mapping[str, str | None]) -> Manifest:
    spec = stack.spec
    volumes = _volumes(stack)
    serving = container(
        stack,
        name="gateway",
        image=spec.images.gateway or default_image,
        env=environment(variables, spec.gateway.env),
        ports={"ws": GATEWAY_PORT, "internal": INTERNAL_PORT},
        resources=requests_and_limits(spec.gateway.resources),
        volumes=volumes,
        # The image has no shell to sleep in (KEP-3960).
        lifecycle={"preStop": {"sleep": {"seconds": LEAVE_SECONDS}}},
        **probes("internal", started="/healthz", ready="/readyz", alive="/healthz", start_seconds=60),
    )
    return pod_template(
        stack,
        labels=labels(stack, Component.GATEWAY, revision=revision) | {LABEL_TRAFFIC: TRAFFIC_ON},
        annotations=spec.gateway.annotations,
        selected=selector(stack, Component.GATEWAY, revision=revision),
        main=serving,
        volumes=volumes,
        placement=spec.gateway.placement,
        grace_seconds=spec.max_session_seconds + spec.drain.margin_seconds,
    )


def _volumes(stack: Stack) -> list[Volume]:
    gateway = stack.spec.gateway
    volumes = [
        credential_volume(stack, *([TOKEN_KEY] if gateway.auth.temporary_tokens else [])),
        # Outlives the container, not the pod: the license state that a restarted gateway was last told.
        memory_volume("state", STATE_FOLDER, "16Mi"),
        temporary(),
    ]
    if gateway.tls is not None:
        files = {name: name for name in ("tls.crt", "tls.key")}
        volumes.append(secret_volume("tls", gateway.tls.secret_name, TLS_FOLDER, files=files))
    return volumes


def _variables(stack: Stack, revision: str) -> dict[str, str | None]:
    spec, gateway = stack.spec, stack.spec.gateway
    license_host = host(stack, names.license_proxy(stack.name))
    with_tls = gateway.tls is not None
    return {
        "REVISION": revision,
        "AAI_WSS_PORT": str(GATEWAY_PORT),
        "INTERNAL_PORT": str(INTERNAL_PORT),
        **_servers(stack),
        "AAI_LICENSE_AND_USAGE_PROXY_ENDPOINT": f"http://{license_host}:{LICENSE_PORT}",
        "STREAMSTACK_CREDENTIAL_FILE": CREDENTIAL_FILE,
        "TOKEN_KEY_FILE": f"{CREDENTIAL_FOLDER}/{TOKEN_KEY}" if gateway.auth.temporary_tokens else None,
        "STATE_DIR": STATE_FOLDER,
        "SSL_CERT_PATH": f"{TLS_FOLDER}/tls.crt" if with_tls else None,
        "SSL_CERT_KEY": f"{TLS_FOLDER}/tls.key" if with_tls else None,
        "MODEL_DEFAULT": gateway.model_default,
        "MODEL_ALIASES": _pairs(gateway.model_aliases),
        "MODEL_FALLBACKS": _pairs(gateway.model_fallbacks),
        "CAPACITY": str(gateway.capacity),
        "MAX_SESSIONS": str(session_limit(gateway)),
        "MAX_CONNECTIONS": str(gateway.limits.max_connections),
        "BUFFER_MEGABYTES": str(gateway.limits.buffer_megabytes),
        "MAX_SESSION_SECONDS": str(spec.max_session_seconds),
        "ASR_WAIT_SECONDS": str(spec.asr_wait_seconds),
        "STOP_GRACE_SECONDS": str(spec.max_session_seconds + _stop_margin_seconds(stack)),
        "LOGGING_LEVEL": spec.logging.level.upper(),
        "USE_STRUCTURED_LOGGING": str(spec.logging.structured).lower(),
    }


def _servers(stack: Stack) -> dict[str, str]:
    """Where speech is recognised: in the pools' own pods, which the gateway chooses among, or behind the balancer."""
    balanced = stack.spec.balancer is Balancer.NGINX
    pools = []
    for pool in stack.spec.pools:
        service = host(stack, names.pool(stack.name, pool.name))
        pools.append(f"{pool.name}/{pool.routing_name}" + ("" if balanced else f"={service}:{ASR_PORT}"))
    found = {"ASR_POOLS": ";".join(pools)}
    if balanced:
        found["AAI_ASR_ENDPOINT"] = f"{host(stack, names.balancer(stack.name))}:{ASR_PORT}"
    return found


def _stop_margin_seconds(stack: Stack) -> int:
    """How much longer than the longest session a stopped gateway waits: it always ends before the kubelet kills it."""
    return min(STOP_MARGIN_SECONDS, stack.spec.drain.margin_seconds // 2)


def _pairs(values: Mapping[str, str]) -> str | None:
    """Write what ``MODEL_ALIASES`` and ``MODEL_FALLBACKS`` read, sorted: the API server keeps no order of keys."""
    return ",".join(f"{name}={value}" for name, value in sorted(values.items())) or None
