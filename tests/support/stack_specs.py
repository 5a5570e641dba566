"""StreamingStacks as hypothesis makes them: every field of the spec, within what the checks and the API server take."""

from typing import Any

from hypothesis import strategies as st

from streamstack_operator.facts import Release, Stack, StackKey
from streamstack_operator.model.base import Part
from streamstack_operator.model.gateway import Gateway, GatewayAuth, GatewayLimits, GatewayTls
from streamstack_operator.model.ingress import HttpRoute, Ingress, IngressProfile, IngressTls, ParentRef
from streamstack_operator.model.pool import MODELS_BY_POOL, Engine, Gpu, ModelVolume, Pool
from streamstack_operator.model.spec import (
    Balancer,
    Credential,
    Drain,
    Images,
    License,
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
    renderer=1,
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


def labels(max_size: int = 20) -> st.SearchStrategy[str]:
    """Names of one part (RFC 1123) that begin with a letter, as Services' have to; the last is the longest there is."""
    return st.sampled_from([name[:max_size] for name in LABELS])


def names() -> st.SearchStrategy[str]:
    """Names of one or several parts, as most kinds have."""
    return labels() | st.builds("{}.{}".format, labels(), labels())


def stacks() -> st.SearchStrategy[Stack]:
    """Stacks of any name and namespace."""
    return st.builds(
        lambda spec, namespace, name: stack(spec, namespace=namespace, name=name),
        specs(),
        labels(63),
        labels(30),
    )


def _keys() -> st.SearchStrategy[str]:
    return st.builds("{}.example/{}".format, labels(), labels(63))


def _annotations() -> st.SearchStrategy[dict[str, str]]:
    return st.dictionaries(_keys(), st.sampled_from(TEXTS), max_size=2)


def _label_sets() -> st.SearchStrategy[dict[str, str]]:
    return st.dictionaries(_keys(), labels(63), max_size=2)


def _made(part: type[Part], **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """A part of the spec; ``st.builds`` would make up fields by their aliases."""
    return st.fixed_dictionaries(fields).map(lambda given: part(**given))


def _maybe(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | strategy


def _resources() -> st.SearchStrategy[Resources]:
    """The limit is never below the request: the API server refuses that."""
    cpu, memory = st.sampled_from(["100m", "0.5", "1", 2]), st.sampled_from(["128Mi", "1Gi", "2e9"])
    return st.builds(
        lambda cpu, memory, limits: Resources(requests={"cpu": cpu, "memory": memory}, limits=limits),
        cpu,
        memory,
        st.sampled_from([{}, {"memory": "16Gi"}, {"cpu": 4, "memory": "16Gi"}]),
    )


def _env() -> st.SearchStrategy[list[EnvVar]]:
    names = st.sampled_from(["OWN", "_1", "REVISION", "STOP_GRACE_SECONDS", "ENGINE", "MODEL_FALLBACKS", "HOST"])
    values = st.sampled_from(TEXTS)
    given = st.builds(lambda name, value: EnvVar(name=name, value=value), names, values)
    secret = st.builds(
        lambda name, secret, key: EnvVar(name=name, secret_key_ref=SecretKey(name=secret, key=key)),
        names,
        labels(),
        labels(),
    )
    return st.lists(given | secret, max_size=4, unique_by=lambda variable: variable.name)


def _tolerations() -> st.SearchStrategy[Toleration]:
    effects = _maybe(st.sampled_from(TaintEffect))
    return st.one_of(
        _made(Toleration, operator=st.just(TolerationOperator.EXISTS), key=_maybe(_keys()), effect=effects),
        _made(Toleration, key=_keys(), value=_maybe(labels(63)), effect=effects),
        _made(
            Toleration,
            key=_keys(),
            operator=st.just(TolerationOperator.EXISTS),
            effect=st.just(TaintEffect.NO_EXECUTE),
            toleration_seconds=st.integers(0, 3600),
        ),
    )


def _placements() -> st.SearchStrategy[Placement]:
    spread = _made(
        TopologySpread,
        topology_key=st.sampled_from(["kubernetes.io/hostname", "topology.kubernetes.io/zone"]),
        max_skew=st.integers(1, 3),
        when_unsatisfiable=st.sampled_from(WhenUnsatisfiable),
    )
    return st.just(Placement()) | _made(
        Placement,
        node_selector=_label_sets(),
        tolerations=st.lists(_tolerations(), max_size=2),
        priority_class_name=_maybe(names()),
        topology_spread=st.lists(spread, max_size=2, unique_by=lambda one: one.topology_key),
    )


def _autoscalings() -> st.SearchStrategy[Autoscaling]:
    return st.builds(
        lambda low, more, percent: Autoscaling(min_replicas=low, max_replicas=low + more, target_percent=percent),
        st.integers(1, 20),
        st.integers(0, 20),
        st.integers(1, 100),
    )


@st.composite
def _limits(draw: st.DrawFn, capacity: int) -> GatewayLimits:
    return GatewayLimits(
        max_sessions=draw(_maybe(st.integers(capacity, 100_000))),
        max_connections=draw(st.integers(capacity, 100_000)),
        buffer_megabytes=draw(st.integers(1, 16 * 1024 - 1)),
    )


@st.composite
def _gateways(draw: st.DrawFn, models: list[str]) -> Gateway:
    capacity = draw(st.integers(1, 10_000))
    served = st.sampled_from(models)
    return Gateway(
        replicas=draw(st.integers(1, 20)),
        capacity=capacity,
        resources=draw(_resources()),
        limits=draw(_limits(capacity)),
        model_aliases=draw(st.dictionaries(st.just("*") | labels(), served, max_size=3)),
        model_default=draw(_maybe(served)),
        model_fallbacks=draw(st.dictionaries(st.sampled_from(["*", "u3-pro"]), st.just("default"), max_size=2)),
        auth=GatewayAuth(temporary_tokens=draw(st.booleans())),
        tls=draw(_maybe(_made(GatewayTls, secret_name=names()))),
        env=draw(_env()),
        annotations=draw(_annotations()),
        placement=draw(_placements()),
        autoscaling=draw(_maybe(_autoscalings())),
        disruption=Disruption(max_unavailable=draw(st.integers(0, 3))),
    )


def _pools_named(name: str, model: str | None) -> st.SearchStrategy[Pool]:
    return _made(
        Pool,
        name=st.just(name),
        model=st.just(model),
        engine=st.sampled_from(Engine),
        replicas=st.integers(1, 20),
        slots=_maybe(st.integers(1, 500)),
        resources=_resources(),
        shared_memory=st.sampled_from(["64Mi", "1Gi"]),
        gpu=_maybe(
            _made(Gpu, resource_name=st.sampled_from(["nvidia.com/gpu", "amd.com/gpu"]), count=st.integers(0, 4))
        ),
        runtime_class_name=_maybe(names()),
        placement=_placements(),
        model_volume=_maybe(
            _made(
                ModelVolume,
                claim_name=names(),
                mount_path=st.sampled_from(["/models", "/data/models"]),
                sub_path=st.sampled_from([None, "nemotron", "asr/english"]),
            )
        ),
        env=_env(),
        annotations=_annotations(),
        stop_grace_seconds=st.integers(0, 600),
        autoscaling=_maybe(_autoscalings()),
        disruption=_made(Disruption, max_unavailable=st.integers(0, 3)),
    )


@st.composite
def _pools(draw: st.DrawFn) -> list[Pool]:
    """Names and models are each used once, as the checks demand."""
    wanted = st.sampled_from([*MODELS_BY_POOL, *(name[:POOL_NAME_MAX] for name in LABELS)])
    pools: list[Pool] = []
    for name in draw(st.lists(wanted, min_size=1, max_size=3, unique=True)):
        own = MODELS_BY_POOL.get(name)
        taken = {pool.routing_name for pool in pools}
        other = st.sampled_from([model for model in MODELS if model not in taken])
        pools.append(draw(_pools_named(name, None if own else draw(other))))
    return pools


def _hosts() -> st.SearchStrategy[str]:
    return st.builds("{}{}.example".format, st.sampled_from(["", "*."]), labels())


def _ingresses() -> st.SearchStrategy[Ingress]:
    return _made(
        Ingress,
        host=_hosts(),
        class_name=_maybe(names()),
        tls=_maybe(_made(IngressTls, secret_name=names())),
        profile=st.sampled_from(IngressProfile),
        annotations=_annotations(),
    )


def _routes() -> st.SearchStrategy[HttpRoute]:
    parents = _made(ParentRef, name=names(), namespace=_maybe(labels(63)), section_name=_maybe(labels()))
    return _made(
        HttpRoute,
        hostnames=st.lists(_hosts(), min_size=1, max_size=3, unique=True),
        parent_refs=st.lists(parents, min_size=1, max_size=2, unique_by=str),
        annotations=_annotations(),
    )


def _images() -> st.SearchStrategy[Images]:
    image = _maybe(st.sampled_from(["registry.example/one:1", "registry.example/two@sha256:" + "0" * 64]))
    return _made(
        Images,
        gateway=image,
        license_proxy=image,
        balancer=image,
        asr_sphinx=image,
        asr_nemotron=image,
        pull_policy=st.sampled_from(PullPolicy),
        pull_secrets=st.lists(names(), max_size=2, unique=True),
    )


def _licenses() -> st.SearchStrategy[License]:
    return _made(
        License,
        secret_name=names(),
        key=st.sampled_from(["license.jwt", "token"]),
        extra_keys_key=st.sampled_from([None, "keys.json"]),
        replicas=st.integers(1, 10),
        resources=_resources(),
        storage=st.sampled_from(["1Gi", "500Mi"]),
        storage_class_name=_maybe(names()),
        placement=_placements(),
    )


def _nginxes() -> st.SearchStrategy[Nginx]:
    resolver = st.sampled_from(["kube-dns.kube-system.svc", "10.96.0.10", "10.96.0.10:5353", "fd00::a", "[fd00::a]"])
    return _made(
        Nginx,
        replicas=st.integers(1, 5),
        resources=_resources(),
        resolver=resolver,
        placement=_placements(),
    )


@st.composite
def specs(draw: st.DrawFn) -> StreamingStackSpec:
    """Valid specs of every shape."""
    pools = draw(_pools())
    return StreamingStackSpec(
        license=draw(_licenses()),
        gateway=draw(_gateways([pool.routing_name for pool in pools])),
        pools=pools,
        balancer=draw(st.sampled_from(Balancer)),
        nginx=draw(_nginxes()),
        ingress=draw(_maybe(_ingresses())),
        http_route=draw(_maybe(_routes())),
        max_session_seconds=draw(st.integers(1, 86_400)),
        asr_wait_seconds=draw(st.integers(1, 86_400)),
        drain=Drain(
            on_delete=draw(st.booleans()),
            margin_seconds=draw(st.integers(60, 86_400)),
            max_draining_revisions=draw(st.integers(1, 10)),
        ),
        credential=Credential(rotate_after_seconds=draw(st.integers(3600, 315_360_000))),
        images=draw(_images()),
        service_account=ServiceAccount(annotations=draw(_annotations())),
        network_policies=NetworkPolicies(
            enabled=draw(st.booleans()),
            clients=draw(st.lists(_label_sets(), max_size=2)),
            monitoring=draw(st.lists(_label_sets(), max_size=2)),
        ),
        logging=Logging(level=draw(st.sampled_from(LogLevel)), structured=draw(st.booleans())),
        cluster_domain=draw(names()),
    )
