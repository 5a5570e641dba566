"""A pool's pod template, by renderer (images/asr/streamstack_asr/settings.py).

What a spec says of a pool is in the template of every renderer, so that it never goes unheard: a field that is new is
in nobody's spec yet. Only what pods get without asking differs.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from streamstack_operator.build.meta import labels, selector
from streamstack_operator.build.pod import (
    CREDENTIAL_FILE,
    Volume,
    container,
    credential_volume,
    environment,
    memory_volume,
    pod_template,
    probes,
    requests_and_limits,
    temporary,
)
from streamstack_operator.facts import Manifest, Stack
from streamstack_operator.model.archive import ModelStore
from streamstack_operator.model.pool import Engine, Pool
from streamstack_operator.names import ASR_PORT, INTERNAL_PORT, LABEL_TRAFFIC, TRAFFIC_ON, Component

ENGINES: Final = {
    Engine.NEMOTRON: "nemotron",
    Engine.SPHINX: "sphinx",
    Engine.SCRIPTED: "scripted",
    Engine.LOAD_TEST: "null",
}
"""What the server calls the engines."""

START_SECONDS: Final = dict.fromkeys(Engine, 300) | {Engine.NEMOTRON: 1800}
"""Weights take two to five minutes to load, and many more from a slow volume (reference/asr-engines.md)."""

END_SECONDS: Final = 30
"""What a server gets to end in, after the time its sessions have to move away."""


STORE_FOLDER: Final = "/var/lib/streamstack/models"
"""Where the pods keep what they unpack of archives."""

CACHES: Final = {"HOME": "/tmp", "TORCHINDUCTOR_CACHE_DIR": "/tmp/torchinductor"}  # noqa: S108 - the container's own
"""Where torch and the CUDA driver may write what they compile: the root is read-only, and the user has no home."""


def template_1(stack: Stack, pool: Pool, default_image: str, revision: str) -> Manifest:
    """Return the pod template of a pool's revision as renderers 1 and 2 make it."""
    variables = _variables(stack, pool, revision)
    return _template(stack, pool, default_image, revision, variables=variables, volumes=_volumes(stack, pool))


def template_3(stack: Stack, pool: Pool, default_image: str, revision: str) -> Manifest:
    """Return the pod template as renderer 3 makes it: Nemotron has shared memory, caches and a device it is told."""
    variables, volumes = _variables(stack, pool, revision), _volumes(stack, pool)
    if pool.engine is Engine.NEMOTRON:
        # Told, and not found out: without its GPU a pod ends with an error, and does not try on the CPU.
        variables |= {"DEVICE": "cuda" if pool.gpus.count else "cpu", **CACHES}
        volumes.append(memory_volume("shm", "/dev/shm", pool.shared_memory))  # noqa: S108 - the container's own
    return _template(stack, pool, default_image, revision, variables=variables, volumes=volumes)


def _template(
    stack: Stack,
    pool: Pool,
    default_image: str,
    revision: str,
    *,
    variables: Mapping[str, str | None],
    volumes: Sequence[Volume],
) -> Manifest:
    of_engine = stack.spec.images.asr_nemotron if pool.engine is Engine.NEMOTRON else stack.spec.images.asr_sphinx
    serving = container(
        stack,
        name="asr",
        image=of_engine or default_image,
        env=environment(variables, pool.env),
        ports={"grpc": ASR_PORT, "internal": INTERNAL_PORT},
        resources=requests_and_limits(pool.resources, **_gpus(pool)),
        volumes=volumes,
        **probes(
            "internal", started="/readyz", ready="/readyz", alive="/healthz", start_seconds=START_SECONDS[pool.engine]
        ),
    )
    return pod_template(
        stack,
        labels=labels(stack, Component.ASR, pool=pool.name, revision=revision) | {LABEL_TRAFFIC: TRAFFIC_ON},
        annotations=pool.annotations,
        selected=selector(stack, Component.ASR, pool=pool.name, revision=revision),
        main=serving,
        volumes=volumes,
        placement=pool.placement,
        grace_seconds=pool.stop_grace_seconds + END_SECONDS,
        runtime_class_name=pool.runtime_class_name,
    )


def _gpus(pool: Pool) -> dict[str, int]:
    return {pool.gpus.resource_name: pool.gpus.count} if pool.gpus.count else {}


def _volumes(stack: Stack, pool: Pool) -> list[Volume]:
    volumes = [credential_volume(stack), temporary(pool.shared_memory)]
    files = pool.model_volume
    if files is not None:
        claim = {"persistentVolumeClaim": {"claimName": files.claim_name, "readOnly": True}}
        volumes.append(Volume("model", claim, files.mount_path, read_only=True, sub_path=files.sub_path))
    if pool.model_archive is not None:
        volumes.append(Volume("models", _store(pool.model_archive.store), STORE_FOLDER))
    return volumes


def _store(store: ModelStore) -> Manifest:
    if store.claim_name is not None:
        return {"persistentVolumeClaim": {"claimName": store.claim_name}}
    if store.host_path is not None:
        # Not made where it is missing: it would be root's, and the pods are not.
        return {"hostPath": {"path": store.host_path, "type": "Directory"}}
    return {"emptyDir": {"sizeLimit": str(store.size)}}


def _variables(stack: Stack, pool: Pool, revision: str) -> dict[str, str | None]:
    logging, archive = stack.spec.logging, pool.model_archive
    return {
        "REVISION": revision,
        "SERVER_PORT": str(ASR_PORT),
        "INTERNAL_PORT": str(INTERNAL_PORT),
        "ENGINE": ENGINES[pool.engine],
        "MODELS": pool.routing_name,
        "MODEL_DIR": None if pool.model_volume is None else pool.model_volume.mount_path,
        "MODEL_ARCHIVE": None if archive is None else archive.url,
        "MODEL_ARCHIVE_SHA256": None if archive is None else archive.sha256,
        "MODEL_STORE": None if archive is None else STORE_FOLDER,
        "MODEL_OFFLINE": None if archive is None or archive.addresses else "true",
        "MODEL_LICENSE_ACCEPTED": pool.model_license,
        "CHUNK_MS": None if pool.chunk_ms is None else str(pool.chunk_ms),
        "PRECISION": None if pool.precision is None else pool.precision.lower(),
        "MAX_OPEN_STREAMS": str(pool.slot_count),
        "STOP_GRACE_SECONDS": str(pool.stop_grace_seconds),
        "STREAMSTACK_CREDENTIAL_FILE": CREDENTIAL_FILE,
        "LOGGING_LEVEL": logging.level.upper(),
        "USE_STRUCTURED_LOGGING": str(logging.structured).lower(),
    }
