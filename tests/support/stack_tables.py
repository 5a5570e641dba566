"""Specs that are refused, told why: said once, asked of the API server and of the operator's own checks alike."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

SMALLEST: Mapping[str, Any] = {"license": {"secretName": "demo-license"}, "pools": [{"name": "english"}]}


@dataclass(frozen=True, slots=True)
class Bad:
    """A spec with one thing wrong: ``where`` and ``message`` are in the refusal."""

    spec: dict[str, Any]
    where: str
    message: str


def manifest(spec: Mapping[str, Any], *, name: str = "demo", **metadata: Any) -> dict[str, Any]:
    return {
        "apiVersion": "streamstack.dev/v1alpha1",
        "kind": "StreamingStack",
        "metadata": {"name": name, **metadata},
        "spec": copy.deepcopy(dict(spec)),
    }


def gateway(**fields: Any) -> dict[str, Any]:
    return {**SMALLEST, "gateway": fields}


def pools(*pools: Mapping[str, Any]) -> dict[str, Any]:
    return {**SMALLEST, "pools": list(pools)}


def pool(**fields: Any) -> dict[str, Any]:
    return pools({"name": "english", **fields})


def tolerating(**toleration: Any) -> dict[str, Any]:
    return gateway(placement={"tolerations": [toleration]})


def licensed(**fields: Any) -> dict[str, Any]:
    return {**SMALLEST, "license": {**SMALLEST["license"], **fields}}


def routed(**fields: Any) -> dict[str, Any]:
    route = {"hostnames": ["speech.example.com"], "parentRefs": [{"name": "outside"}], **fields}
    return {**SMALLEST, "httpRoute": route}


def archived(**fields: Any) -> dict[str, Any]:
    return pool(modelArchive={**ARCHIVE, **fields})


TEMPORARY = "/tmp"  # noqa: S108 - a folder in a container
SHARED = "/dev/shm"  # noqa: S108 - a folder in a container
ARCHIVED = "spec.pools[0].modelArchive"
ARCHIVE = {
    "url": "https://models.example/english.tar",
    "sha256": "0123456789abcdef" * 4,
    "addresses": ["192.0.2.0/24"],
}
TAINT = "spec.gateway.placement.tolerations[0]"

BROKEN_RULES = {
    "a request above its limit": Bad(
        pool(resources={"requests": {"memory": "2Gi"}, "limits": {"memory": "2047Mi"}}),
        "spec.pools[0].resources.requests",
        "requests must not be above limits",
    ),
    "a request above its limit, one a number": Bad(
        gateway(resources={"requests": {"cpu": 2}, "limits": {"cpu": "1999m"}}),
        "spec.gateway.resources.requests",
        "requests must not be above limits",
    ),
    "a value that is tolerated whatever it is": Bad(
        tolerating(operator="Exists", key="gpu", value="yes"), f"{TAINT}.value", "must be left out with Exists"
    ),
    "a toleration of nothing": Bad(tolerating(value="yes"), f"{TAINT}.key", "key is required with Equal"),
    "a toleration that ends, of what evicts nobody": Bad(
        tolerating(key="gpu", tolerationSeconds=5, effect="NoSchedule"), f"{TAINT}.tolerationSeconds", "NoExecute"
    ),
    "a toleration that ends, of every effect": Bad(
        tolerating(key="gpu", tolerationSeconds=5), f"{TAINT}.tolerationSeconds", "NoExecute"
    ),
    "a variable without a value": Bad(
        gateway(env=[{"name": "A"}]), "spec.gateway.env[0]", "exactly one of value and secretKeyRef"
    ),
    "a variable with two values": Bad(
        pool(env=[{"name": "A", "value": "", "secretKeyRef": {"name": "a", "key": "b"}}]),
        "spec.pools[0].env[0]",
        "exactly one of value and secretKeyRef",
    ),
    "bounds the wrong way round": Bad(
        gateway(autoscaling={"minReplicas": 11}), "spec.gateway.autoscaling.minReplicas", "not be above maxReplicas"
    ),
    "a limit of sessions below the capacity": Bad(
        gateway(limits={"maxSessions": 31}), "spec.gateway.limits.maxSessions", "must not be below capacity"
    ),
    "fewer sockets than sessions": Bad(
        gateway(limits={"maxConnections": 31}), "spec.gateway.limits.maxConnections", "must not be below capacity"
    ),
    "more buffers than memory": Bad(
        gateway(resources={"limits": {"memory": "768Mi"}}), "spec.gateway.limits.bufferMegabytes", "memory limit"
    ),
    "a model where scratch space is": Bad(
        pool(modelVolume={"claimName": "models", "mountPath": TEMPORARY}),
        "spec.pools[0].modelVolume.mountPath",
        "expected another folder",
    ),
    "a model where the credential is": Bad(
        pool(modelVolume={"claimName": "models", "mountPath": "/run/streamstack/"}),
        "spec.pools[0].modelVolume.mountPath",
        "expected another folder",
    ),
    "a model where shared memory is": Bad(
        pool(modelVolume={"claimName": "models", "mountPath": SHARED}),
        "spec.pools[0].modelVolume.mountPath",
        "expected another folder",
    ),
    "a model on a volume and in an archive": Bad(
        pool(modelVolume={"claimName": "models"}, modelArchive=ARCHIVE),
        "spec.pools[0].modelArchive",
        "modelVolume or modelArchive, not both",
    ),
    "an archive for PocketSphinx": Bad(
        pool(engine="Sphinx", modelArchive=ARCHIVE), "spec.pools[0].engine", "are the engine Nemotron's"
    ),
    "a step for PocketSphinx": Bad(
        pool(engine="Sphinx", chunkMs=160), "spec.pools[0].engine", "are the engine Nemotron's"
    ),
    "a license of a model that there is none of": Bad(
        pool(engine="Scripted", modelLicense="OpenMDW-1.1"), "spec.pools[0].engine", "are the engine Nemotron's"
    ),
    "a precision of words by rote": Bad(
        pool(engine="LoadTest", precision="Auto"), "spec.pools[0].engine", "are the engine Nemotron's"
    ),
    "an archive that is nowhere": Bad(
        archived(addresses=["192.0.2.0/24", "1.2.3/8"]), f"{ARCHIVED}.addresses", "expected blocks of addresses"
    ),
    "an archive beyond the length of an address": Bad(
        archived(addresses=["192.0.2.0/33"]), f"{ARCHIVED}.addresses", "expected blocks of addresses"
    ),
    "an archive from nowhere": Bad(archived(addresses=[]), f"{ARCHIVED}.addresses", "expected addresses to fetch"),
    "an archive in two stores": Bad(
        archived(store={"claimName": "models", "hostPath": "/srv/models"}),
        f"{ARCHIVED}.store.hostPath",
        "claimName or hostPath, not both",
    ),
    "a way out of the node's folder": Bad(
        archived(store={"hostPath": "/srv/../etc"}), f"{ARCHIVED}.store.hostPath", "must not contain '..'"
    ),
    "a way out of the volume": Bad(
        pool(modelVolume={"claimName": "models", "subPath": "a/../../b"}),
        "spec.pools[0].modelVolume.subPath",
        "must not contain '..'",
    ),
    "an authority without TLS": Bad(
        licensed(authority={"endpoint": "http://authority.example"}),
        "spec.license.authority.endpoint",
        "needs insecure: true",
    ),
    "a class of claims that there are none of": Bad(
        licensed(ephemeral=True, storageClassName="fast"), "spec.license.storageClassName", "there is no claim"
    ),
    "a pool of no known model": Bad(pools({"name": "french"}), "spec.pools[0].model", "model is required"),
    "a pool with the balancer's name": Bad(
        pools({"name": "lb", "model": "en-default"}), "spec.pools[0].name", "the balancer's name"
    ),
    "an ingress of an address": Bad(
        {**SMALLEST, "ingress": {"host": "192.0.2.1"}}, "spec.ingress.host", "expected a DNS name"
    ),
    "a route of an address": Bad(routed(hostnames=["a.example", "192.0.2.1"]), "spec.httpRoute.hostnames", "DNS name"),
    "one name of two pools": Bad(
        pools({"name": "english"}, {"name": "english", "model": "other"}), "spec.pools", "pool names must differ"
    ),
    "one model of two pools": Bad(
        pools({"name": "english"}, {"name": "fast", "model": "en-default"}), "spec.pools", "models of pools must differ"
    ),
    "an alias of nothing": Bad(
        gateway(modelAliases={"mine": "universal-4"}), "spec.gateway.modelAliases", "expected every alias"
    ),
    "a fallback of nothing": Bad(
        gateway(modelFallbacks={"universal-4": "en-default"}), "spec.gateway.modelFallbacks", "expected every fallback"
    ),
    "a fallback to nothing": Bad(
        gateway(modelFallbacks={"u3-pro": "universal-4"}), "spec.gateway.modelFallbacks", "expected every fallback"
    ),
    "a default without a pool": Bad(
        gateway(modelDefault="universal-streaming-multilingual"), "spec.gateway.modelDefault", "the model of a pool"
    ),
}
"""A spec for every rule of CEL that is not about a change."""

BROKEN_SCHEMA = {
    "no license": Bad({"pools": [{"name": "english"}]}, "spec.license", "equired"),
    "no pool": Bad({**SMALLEST, "pools": []}, "spec.pools", "at least 1 item"),
    "no name of a Secret": Bad({**SMALLEST, "license": {}}, "spec.license.secretName", "equired"),
    "a name no Secret can have": Bad(
        {**SMALLEST, "license": {"secretName": "My License"}}, "spec.license.secretName", "match"
    ),
    "an authority that is no address": Bad(
        licensed(authority={"endpoint": "authority.example"}), "spec.license.authority.endpoint", "match"
    ),
    "an authority with a password in its address": Bad(
        licensed(authority={"endpoint": "https://me:secret@authority.example"}),
        "spec.license.authority.endpoint",
        "match",
    ),
    "proxies that end themselves too soon": Bad(
        licensed(selfTerminateMinutes=4), "spec.license.selfTerminateMinutes", "greater than or equal to 5"
    ),
    "an engine nobody knows": Bad(pool(engine="Kaldi"), "spec.pools[0].engine", "Sphinx"),
    "a number in quotes": Bad(gateway(replicas="2"), "spec.gateway.replicas", "integer"),
    "a number that is too small": Bad(gateway(capacity=0), "spec.gateway.capacity", "greater than or equal to 1"),
    "a number that is too large": Bad(gateway(replicas=1001), "spec.gateway.replicas", "less than or equal to 1000"),
    "a quantity that is none": Bad(pool(sharedMemory="1 GB"), "spec.pools[0].sharedMemory", "match"),
    "a negative quantity": Bad(pool(sharedMemory=-1), "spec.pools[0].sharedMemory", "greater than or equal to 0"),
    "a fraction where Kubernetes wants text": Bad(
        gateway(resources={"requests": {"cpu": 0.5}}), "spec.gateway.resources.requests.cpu", "integer"
    ),
    "a word for yes": Bad({**SMALLEST, "drain": {"onDelete": "yes"}}, "spec.drain.onDelete", "boolean"),
    "a GPU without a vendor": Bad(pool(gpu={"resourceName": "gpu"}), "spec.pools[0].gpu.resourceName", "match"),
    "an archive without its checksum": Bad(
        pool(modelArchive={"url": ARCHIVE["url"], "addresses": ARCHIVE["addresses"]}), f"{ARCHIVED}.sha256", "equired"
    ),
    "an archive with half a checksum": Bad(archived(sha256="0123"), f"{ARCHIVED}.sha256", "at least 64"),
    "an archive on the pod's own disk": Bad(archived(url="file:///etc/models.tar"), f"{ARCHIVED}.url", "match"),
    "an archive with a password in its address": Bad(
        archived(url="https://me:secret@models.example/english.tar"), f"{ARCHIVED}.url", "match"
    ),
    "an archive at no port": Bad(archived(url="https://models.example:65536/english.tar"), f"{ARCHIVED}.url", "match"),
    "a name for a block": Bad(archived(addresses=["models.example/24"]), f"{ARCHIVED}.addresses[0]", "match"),
    "a step that no model takes": Bad(pool(chunkMs=100), "spec.pools[0].chunkMs", "80"),
    "a precision that no model has": Bad(pool(precision="Int8"), "spec.pools[0].precision", "Bf16"),
    "a sentence for a license": Bad(pool(modelLicense="I accept"), "spec.pools[0].modelLicense", "match"),
    "a list where one is meant": Bad({**SMALLEST, "ingress": []}, "spec.ingress", "object"),
    "a variable given twice": Bad(
        gateway(env=[{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]), "spec.gateway.env[1]", ""
    ),
}
"""Specs that the schema alone refuses; in words that are both the API server's and pydantic's."""

BAD = BROKEN_RULES | BROKEN_SCHEMA

GOOD = {
    "the smallest": dict(SMALLEST),
    "an authority of one's own": licensed(
        authority={"endpoint": "https://authority.example/base", "caSecretName": "ca"}
    ),
    "an authority without TLS that is meant so": licensed(
        authority={"endpoint": "http://authority:8080", "insecure": True}, selfTerminateMinutes=60
    ),
    "journals on nodes": licensed(ephemeral=True, storage="2Gi"),
    "a request as large as its limit": gateway(
        resources={"requests": {"cpu": "1", "memory": "2048Mi"}, "limits": {"cpu": 1, "memory": "2Gi"}}
    ),
    "no limits": gateway(resources={"requests": {"memory": "64Gi"}}, limits={"bufferMegabytes": 900_000}),
    "buffers just below the memory": gateway(resources={"limits": {"memory": "769Mi"}}),
    "every taint tolerated": tolerating(operator="Exists"),
    "a taint tolerated for a while": tolerating(key="a", value="b", effect="NoExecute", tolerationSeconds=0),
    "an empty value of a variable": gateway(env=[{"name": "A", "value": ""}]),
    "aliases, fallbacks and a default": {
        "license": {"secretName": "demo-license"},
        "pools": [{"name": "multilingual"}, {"name": "own", "model": "own-model"}],
        "gateway": {
            "modelAliases": {"mine": "own-model", "*": "universal-3-6-pro"},
            "modelFallbacks": {"*": "default", "u3-pro": "own-model"},
            "modelDefault": "universal-streaming-multilingual",
        },
    },
    "a pool whose model is one of the clients' names": gateway(modelDefault="en-default")
    | {"pools": [{"name": "own", "model": "universal-streaming-english"}]},
    "a host with a wildcard": {**SMALLEST, "ingress": {"host": "*.example.com"}},
    "a host that begins with a number": {**SMALLEST, "ingress": {"host": "1.2.3.example"}},
    "dots in a folder": pool(
        modelVolume={"claimName": "models", "mountPath": f"{TEMPORARY}/models", "subPath": "a..b/...c"}
    ),
    "no GPU": pool(gpu={"count": 0}),
    "a slice of a GPU": pool(gpu={"resourceName": "nvidia.com/mig-3g.40gb"}, runtimeClassName="nvidia"),
    "a model from an archive": archived(
        url="http://models.example:8080/english.tar?signature=a%2Fb",
        addresses=["10.0.0.1/8", "2001:db8::/32", "::/0"],
        store={"hostPath": "/srv/a..b/models"},
    ),
    "an archive that is in its store already": archived(addresses=[], store={"claimName": "models"}),
    "all that Nemotron can be told": pool(
        modelVolume={"claimName": "models"}, modelLicense="NVIDIA-Open-Model-License", chunkMs=1120, precision="Fp32"
    ),
    "a volume with an engine that is not Nemotron, as it ever was": pool(
        engine="Sphinx", modelVolume={"claimName": "models"}
    ),
}
