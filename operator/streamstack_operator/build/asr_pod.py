"""A pool's pod template, renderers 1 and 2 (images/asr/streamstack_asr/settings.py)."""

from typing import Final

from streamstack_operator.build.meta import labels, selector
from streamstack_operator.build.pod import (
    CREDENTIAL_FILE,
    Volume,
    container,
    credential_volume,
    environment,
    pod_template,
    probes,
    requests_and_limits,
    temporary,
)
from streamstack_operator.facts import Manifest, Stack
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


def template(stack: Stack, pool: Pool, default_image: str, revision: str) -> Manifest:
    """Return the pod template of a pool's revision."""
    of_engine = stack.spec.images.asr_nemotron if pool.engine is Engine.NEMOTRON else stack.spec.images.asr_sphinx
    volumes = _volumes(stack, pool)
    serving = container(
        stack,
        name="asr",
        image=of_engine or default_image,
        env=environment(_variables(stack, pool, revision), pool.env),
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
    return volumes


def _variables(stack: Stack, pool: Pool, revision: str) -> dict[str, str | None]:
    logging = stack.spec.logging
    return {
        "REVISION": revision,
        "SERVER_PORT": str(ASR_PORT),
        "INTERNAL_PORT": str(INTERNAL_PORT),
        "ENGINE": ENGINES[pool.engine],
        "MODELS": pool.routing_name,
        "MODEL_DIR": None if pool.model_volume is None else pool.model_volume.mount_path,
        "MAX_OPEN_STREAMS": str(pool.slot_count),
        "STOP_GRACE_SECONDS": str(pool.stop_grace_seconds),
        "STREAMSTACK_CREDENTIAL_FILE": CREDENTIAL_FILE,
        "LOGGING_LEVEL": logging.level.upper(),
        "USE_STRUCTURED_LOGGING": str(logging.structured).lower(),
    }
