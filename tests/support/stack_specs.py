"""StreamingStacks as hypothesis makes them: every field of the spec, within what the checks and the API server take."""

from collections.abc import Mapping
from typing import Any

from hypothesis import strategies as st

from streamstack_operator.facts import Release, Stack, StackKey
from streamstack_operator.model.archive import ModelArchive
from streamstack_operator.model.base import Part
from streamstack_operator.model.gateway import Gateway, GatewayAuth, GatewayLimits, GatewayTls
from streamstack_operator.model.ingress import HttpRoute, Ingress, IngressProfile, IngressTls, ParentRef
from streamstack_operator.model.license import Authority, License
from streamstack_operator.model.pool import MODELS_BY_POOL, Engine, Gpu, ModelVolume, Pool, Precision
from streamstack_operator.model.spec import (
    Balancer,
    Credential,
    Drain,
    Images,
    Logging,
    LogLevel,
    NetworkPolicies,
    Nginx,
    PullPolicy,
    ServiceAccount,
    StreamingStackSpec,
)
from streamstack_operator.model.status import StreamingStackStatus
from streamstack_operator.model.workload import (
    Autoscaling,
    Disruption,
    EnvVar,
    Placement,
    Resources,
    SecretKey,
    TaintEffect,
    Toleration,
    TolerationOperator,
    TopologySpread,
    WhenUnsatisfiable,
)
from streamstack_operator.names import POOL_NAME_MAX

RELEASE = Release(
    version="0.1.0",
    renderer=3,
    images={
        "gateway": "streamstack/gateway:0.1.0",
        "license-proxy": "streamstack/license-proxy:0.1.0",
        "asr-lb": "streamstack/asr-lb:0.1.0",
        "asr-sphinx": "streamstack/asr-sphinx:0.1.0",
        "asr-nemotron": "streamstack/asr-nemotron:0.1.0",
    },
)

SMALLEST = StreamingStackSpec.model_validate({"license": {"secretName": "license"}, "pools": [{"name": "english"}]})
"""What has to be given, and nothing else."""


def stack(spec: StreamingStackSpec = SMALLEST, **more: Any) -> Stack:
    """A stack with that spec; ``namespace`` and ``name`` make its key, the rest are fields of ``Stack``."""
    key = StackKey(more.pop("namespace", "calls"), more.pop("name", "demo"))
    known = {"uid": "6f1c5c1e-8f2f-4a51-9d3b-6a3d6f0e7a11", "generation": 1, "status": StreamingStackStatus()}
    return Stack(key=key, spec=spec, **(known | more))


MODELS = ("whisper-rt", "universal-3-6", "own.model", "ownXmodel", "OWN.model", "default", "include", "m" * 63)
"""Models of pools with names of their own: known ones, and some that a careless configuration would mix up."""

LABELS = ("a", "en", "x-1", "calls", "one-two-three", "a--b", "z9", "of-the-longest-kind" + "n" * 44)
TEXTS = ("", "0", "some words", 'a "quoted" \\ $(HOME) one', "https://example/?a=b;c", "ünï", "n" * 300)
KEYS = ("own.example/note", "own.example/" + "n" * 63, "note", *(f"{name}.example/{name}" for name in LABELS))

FEW = st.integers(1, 20)
TEXT = st.sampled_from(TEXTS)


def labels(max_size: int = 20) -> st.SearchStrategy[str]:
    """Names of one part (RFC 1123) that begin with a letter, as Services' have to; the last is the longest there is."""
    return st.sampled_from([name[:max_size] for name in LABELS])


LABEL = labels(63)
NAME = labels() | st.sampled_from(["one.two", "calls.example.com", "x-1.a--b"])
ANNOTATIONS = st.dictionaries(st.sampled_from(KEYS), TEXT, max_size=2)
LABEL_SET = st.dictionaries(st.sampled_from(KEYS), LABEL, max_size=2)


def _made(part: type[Part], required: Mapping[str, Any] | None = None, /, **may_be_given: Any) -> Any:
    """A part of the spec: with these fields or without them, as a person would write it."""
    return st.fixed_dictionaries(dict(required or {}), optional=may_be_given).map(lambda fields: part(**fields))


RESOURCES = st.builds(  # never a limit below its request: the API server refuses that
    lambda cpu, memory, limits: Resources(requests={"cpu": cpu, "memory": memory}, limits=limits),
    st.sampled_from(["100m", "0.5", "1", 2]),
    st.sampled_from(["128Mi", "1Gi", "2e9"]),
    st.sampled_from([{}, {"memory": "16Gi"}, {"cpu": 4, "memory": "16Gi"}, {"cpu": "3500m"}]),
)

_VARIABLE = st.sampled_from(["OWN", "_1", "REVISION", "STOP_GRACE_SECONDS", "ENGINE", "MODEL_DIR", "HOST"])
ENV = st.lists(
    st.builds(lambda name, value: EnvVar(name=name, value=value), _VARIABLE, TEXT)
    | st.builds(lambda name, key: EnvVar(name=name, secret_key_ref=SecretKey(name="own", key=key)), _VARIABLE, LABEL),
    max_size=3,
    unique_by=lambda variable: variable.name,
)

TOLERATIONS = st.lists(
    st.sampled_from(
        [
            Toleration(operator=TolerationOperator.EXISTS),
            Toleration(operator=TolerationOperator.EXISTS, key="nvidia.com/gpu", effect=TaintEffect.NO_SCHEDULE),
            Toleration(key="own.example/kind", value="gpu"),
            Toleration(
                key="own.example/gone",
                operator=TolerationOperator.EXISTS,
                effect=TaintEffect.NO_EXECUTE,
                toleration_seconds=60,
            ),
        ]
    ),
    max_size=2,
)

PLACEMENT = _made(
    Placement,
    node_selector=LABEL_SET,
    tolerations=TOLERATIONS,
    priority_class_name=NAME,
    topology_spread=st.sampled_from(
        [
            [],
            [
                TopologySpread(max_skew=2, when_unsatisfiable=WhenUnsatisfiable.DO_NOT_SCHEDULE),
                TopologySpread(topology_key="topology.kubernetes.io/zone"),
            ],
        ]
    ),
)

AUTOSCALING = st.builds(
    lambda low, more: Autoscaling(min_replicas=low, max_replicas=low + more), FEW, st.integers(0, 20)
)
DISRUPTION = _made(Disruption, {"max_unavailable": st.integers(0, 3)})
CAPACITIES = (1, 32, 500, 10_000)


@st.composite
def _gateways(draw: st.DrawFn, models: list[str]) -> Gateway:
    capacity = draw(st.sampled_from(CAPACITIES))
    limits = _made(
        GatewayLimits,
        max_sessions=st.sampled_from([capacity, 3 * capacity, 100_000]),
        max_connections=st.sampled_from([capacity, 100_000]),
        buffer_megabytes=st.sampled_from([1, 1000]),
    )
    served = st.sampled_from(models)
    fields = _made(
        Gateway,
        {"capacity": st.just(capacity), "limits": limits},
        replicas=FEW,
        resources=RESOURCES,
        model_aliases=st.dictionaries(st.just("*") | labels(), served, max_size=3),
        model_default=served,
        model_fallbacks=st.dictionaries(st.sampled_from(["*", "u3-pro"]), st.just("default"), max_size=2),
        auth=_made(GatewayAuth, temporary_tokens=st.booleans()),
        tls=_made(GatewayTls, {"secret_name": NAME}),
        env=ENV,
        annotations=ANNOTATIONS,
        placement=PLACEMENT,
        autoscaling=AUTOSCALING,
        disruption=DISRUPTION,
    )
    made: Gateway = draw(fields)
    return made


POOL_FIELDS = {
    "replicas": FEW,
    "slots": st.integers(1, 500),
    "resources": RESOURCES,
    "shared_memory": st.sampled_from(["64Mi", "1Gi"]),
    "gpu": _made(Gpu, resource_name=st.sampled_from(["nvidia.com/gpu", "amd.com/gpu"]), count=st.integers(0, 4)),
    "runtime_class_name": NAME,
    "placement": PLACEMENT,
    "model_volume": _made(
        ModelVolume, {"claim_name": NAME}, mount_path=st.just("/data/models"), sub_path=st.just("asr/english")
    ),
    "env": ENV,
    "annotations": ANNOTATIONS,
    "stop_grace_seconds": st.integers(0, 600),
    "autoscaling": AUTOSCALING,
    "disruption": DISRUPTION,
}
FETCHED = {"url": "https://models.example/english.tar", "sha256": "0123456789abcdef" * 4, "addresses": ["0.0.0.0/0"]}
NEMOTRONS: st.SearchStrategy[Mapping[str, Any]] = st.sampled_from(
    [
        {},
        {"model_license": "OpenMDW-1.1", "chunk_ms": 160},
        {"precision": Precision.FP32, "chunk_ms": 1120},
        {"model_volume": None, "model_archive": ModelArchive.model_validate(FETCHED)},
        {
            "model_volume": None,
            "model_archive": ModelArchive.model_validate(
                FETCHED
                | {"url": "http://models.example:8080/a.zip?b=c", "addresses": ["192.0.2.0/24", "2001:db8::/32"]}
                | {"store": {"claimName": "models"}}
            ),
            "model_license": "NVIDIA-Open-Model-License",
        },
    ]
)
POOL_NAMES = st.sampled_from([*MODELS_BY_POOL, *(name[:POOL_NAME_MAX] for name in LABELS)])


@st.composite
def _pools(draw: st.DrawFn) -> list[Pool]:
    """Names and models are each used once, as the checks demand."""
    pools: list[Pool] = []
    for name in draw(st.lists(POOL_NAMES, min_size=1, max_size=3, unique=True)):
        taken = {pool.routing_name for pool in pools}
        own = st.sampled_from([model for model in MODELS if model not in taken])
        fields = {"name": st.just(name), "engine": st.sampled_from(Engine)}
        pool = draw(_made(Pool, fields if name in MODELS_BY_POOL else fields | {"model": own}, **POOL_FIELDS))
        pools.append(pool.model_copy(update=draw(NEMOTRONS)) if pool.engine is Engine.NEMOTRON else pool)
    return pools


HOST = st.sampled_from(["calls.example", "*.calls.example", "a--b.example"])
INGRESS = _made(
    Ingress,
    {"host": HOST, "profile": st.sampled_from(IngressProfile)},
    class_name=NAME,
    tls=_made(IngressTls, {"secret_name": NAME}),
    annotations=ANNOTATIONS,
)
HTTP_ROUTE = _made(
    HttpRoute,
    {
        "hostnames": st.lists(HOST, min_size=1, max_size=3, unique=True),
        "parent_refs": st.lists(
            _made(ParentRef, {"name": NAME}, namespace=LABEL, section_name=LABEL), min_size=1, max_size=2, unique_by=str
        ),
    },
    annotations=ANNOTATIONS,
)
_IMAGE = st.sampled_from(["registry.example/one:1", "registry.example/two@sha256:" + "0" * 64])
SPEC_FIELDS = {
    "balancer": st.sampled_from(Balancer),
    "nginx": _made(
        Nginx,
        replicas=FEW,
        resources=RESOURCES,
        resolver=st.sampled_from(["10.96.0.10", "10.96.0.10:5353", "fd00::a", "[fd00::a]"]),
        placement=PLACEMENT,
    ),
    "ingress": INGRESS,
    "http_route": HTTP_ROUTE,
    "max_session_seconds": st.integers(1, 86_400),
    "asr_wait_seconds": st.integers(1, 86_400),
    "drain": _made(
        Drain,
        on_delete=st.booleans(),
        margin_seconds=st.integers(60, 86_400),
        max_draining_revisions=st.integers(1, 10),
    ),
    "credential": _made(Credential, rotate_after_seconds=st.integers(3600, 315_360_000)),
    "images": _made(
        Images,
        gateway=_IMAGE,
        license_proxy=_IMAGE,
        balancer=_IMAGE,
        asr_sphinx=_IMAGE,
        asr_nemotron=_IMAGE,
        pull_policy=st.sampled_from(PullPolicy),
        pull_secrets=st.lists(NAME, max_size=2, unique=True),
    ),
    "service_account": _made(ServiceAccount, annotations=ANNOTATIONS),
    "network_policies": _made(
        NetworkPolicies,
        enabled=st.booleans(),
        clients=st.lists(LABEL_SET, max_size=2),
        monitoring=st.lists(LABEL_SET, max_size=2),
    ),
    "logging": _made(Logging, level=st.sampled_from(LogLevel), structured=st.booleans()),
    "cluster_domain": NAME,
}
AUTHORITY = st.sampled_from(
    [
        {"endpoint": "https://authority.example"},
        {"endpoint": "https://authority.example:8443/base", "caSecretName": "ca", "caKey": "root.pem"},
        {"endpoint": "http://authority.calls.svc:8080", "insecure": True},
        {"clientCertificateSecretName": "a.client"},
    ]
).map(Authority.model_validate)
JOURNAL: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
    [{}, {"storage": "500Mi"}, {"storage": "2Gi", "storage_class_name": "fast"}, {"ephemeral": True}]
)
LICENSE = st.builds(
    lambda made, journal: made.model_copy(update=journal),
    _made(
        License,
        {"secret_name": NAME},
        key=st.just("token"),
        extra_keys_key=st.just("keys.json"),
        usage_api_key_key=st.just("usage"),
        authority=AUTHORITY,
        self_terminate_minutes=st.integers(5, 60),
        replicas=st.integers(1, 10),
        resources=RESOURCES,
        placement=PLACEMENT,
    ),
    JOURNAL,
)


@st.composite
def specs(draw: st.DrawFn) -> StreamingStackSpec:
    """Valid specs of every shape: ``checks.parse_spec`` takes them, and the API server what is rendered of them."""
    pools = draw(_pools())
    given = {"license": LICENSE, "pools": st.just(pools)}
    gateways = _gateways([pool.routing_name for pool in pools])
    spec: StreamingStackSpec = draw(_made(StreamingStackSpec, given, gateway=gateways, **SPEC_FIELDS))
    return spec


def stacks() -> st.SearchStrategy[Stack]:
    """Stacks of any name and namespace."""
    return st.builds(
        lambda spec, namespace, name: stack(spec, namespace=namespace, name=name), specs(), LABEL, labels(30)
    )
