"""The license proxy: a StatefulSet with a journal a replica, and its Services."""

from typing import Final

from streamstack_operator import names
from streamstack_operator.build import workload
from streamstack_operator.build.meta import labels, metadata, selector
from streamstack_operator.build.pod import (
    CREDENTIAL_FILE,
    Volume,
    container,
    credential_volume,
    environment,
    pod_template,
    probes,
    requests_and_limits,
    secret_volume,
    temporary,
)
from streamstack_operator.facts import Manifest, Release, Stack
from streamstack_operator.model.workload import Disruption
from streamstack_operator.names import LICENSE_PORT, Component

FOLDER: Final = "/run/license"
LICENSE_FILE: Final = "license.jwt"
EXTRA_KEYS_FILE: Final = "extra-keys.json"
JOURNAL_FOLDER: Final = "/var/lib/streamstack"
END_SECONDS: Final = 30


def children(stack: Stack, release: Release) -> tuple[Manifest, ...]:
    """Return all of the license proxy, in the order in which it is applied."""
    name = names.license_proxy(stack.name)
    return (
        _service(stack, name, {"type": "ClusterIP"}),
        # The StatefulSet's governing Service: names of single pods.
        _service(stack, _pods_service(stack), {"clusterIP": "None"}),
        _stateful_set(stack, release),
        workload.budget(stack, name, Component.LICENSE, Disruption(max_unavailable=1)),
    )


def _pods_service(stack: Stack) -> str:
    return f"{names.license_proxy(stack.name)}-pods"


def _service(stack: Stack, name: str, kind: Manifest) -> Manifest:
    port = {"name": "http", "port": LICENSE_PORT, "targetPort": "http", "protocol": "TCP"}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(stack, name, Component.LICENSE),
        "spec": {**kind, "selector": selector(stack, Component.LICENSE), "ports": [port]},
    }


def _stateful_set(stack: Stack, release: Release) -> Manifest:
    """A claim per replica: a journal on one shared claim has two writers or none (DESIGN 7).

    ``spec.replicas`` is not in it, as with Deployments.
    """
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": metadata(stack, names.license_proxy(stack.name), Component.LICENSE),
        "spec": {
            "serviceName": _pods_service(stack),
            "podManagementPolicy": "Parallel",
            "selector": {"matchLabels": selector(stack, Component.LICENSE)},
            "template": _template(stack, release),
            # A journal holds what is not billed yet; a person deletes it (KEP-1847).
            "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain", "whenScaled": "Retain"},
            "volumeClaimTemplates": [_claim(stack)],
        },
    }


def _template(stack: Stack, release: Release) -> Manifest:
    wanted, image = stack.spec.license, stack.spec.images.license_proxy or release.images["license-proxy"]
    volumes = [credential_volume(stack), _license_volume(stack), temporary()]
    journal = Volume("journal", {}, JOURNAL_FOLDER)
    proxy = container(
        stack,
        name="license-proxy",
        image=image,
        env=environment(_variables(stack)),
        ports={"http": LICENSE_PORT},
        resources=requests_and_limits(wanted.resources),
        volumes=[*volumes, journal],
        **probes("http", started="/healthz", ready="/readyz", alive="/healthz", start_seconds=60),
    )
    return pod_template(
        stack,
        labels=labels(stack, Component.LICENSE),
        annotations={},
        selected=selector(stack, Component.LICENSE),
        main=proxy,
        volumes=volumes,
        placement=wanted.placement,
        grace_seconds=END_SECONDS,
    )


def _license_volume(stack: Stack) -> Volume:
    wanted = stack.spec.license
    files = {LICENSE_FILE: wanted.key}
    if wanted.extra_keys_key is not None:
        files[EXTRA_KEYS_FILE] = wanted.extra_keys_key
    return secret_volume("license", wanted.secret_name, FOLDER, files=files)


def _variables(stack: Stack) -> dict[str, str | None]:
    with_keys = stack.spec.license.extra_keys_key is not None
    return {
        "HTTP_PORT": str(LICENSE_PORT),
        "LICENSE_FILE_PATH": f"{FOLDER}/{LICENSE_FILE}",
        "LICENSE_EXTRA_KEYS_FILE": f"{FOLDER}/{EXTRA_KEYS_FILE}" if with_keys else None,
        "STREAMSTACK_CREDENTIAL_FILE": CREDENTIAL_FILE,
        "LOGGING_LEVEL": stack.spec.logging.level.upper(),
        "USE_STRUCTURED_LOGGING": str(stack.spec.logging.structured).lower(),
    }


def _claim(stack: Stack) -> Manifest:
    wanted = stack.spec.license
    spec: Manifest = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": str(wanted.storage)}},
    }
    if wanted.storage_class_name is not None:
        spec["storageClassName"] = wanted.storage_class_name
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "journal"},
        "spec": spec,
    }
