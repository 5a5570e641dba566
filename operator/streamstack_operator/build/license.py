"""The license proxy: a StatefulSet with a journal a replica, and its Services (images/license-proxy)."""

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
API_KEY_FILE: Final = "usage-api-key"
AUTHORITY_CA_FOLDER: Final = "/run/authority-ca"
AUTHORITY_CA_FILE: Final = "ca.crt"
CLIENT_CERTIFICATE_FOLDER: Final = "/run/authority-client"
JOURNAL: Final = "journal"
JOURNAL_FOLDER: Final = "/var/lib/streamstack"
START_SECONDS: Final = 300
"""A journal of a million records is read within seconds, and from a slow volume within minutes."""
END_SECONDS: Final = 30
"""What a proxy gets to end in: it answers what it was asked, and uploads once more what its journal holds."""


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

    ``spec.replicas`` is not in it, as with Deployments. Parallel is about numbers alone: a new template takes one pod
    after the other, from the highest, each when the one before is ready, so that somebody always takes usage; a pod
    that never gets ready does not keep its next template from it, as it would with OrderedReady.
    """
    claims: Manifest = {} if stack.spec.license.ephemeral else {"volumeClaimTemplates": [_claim(stack)]}
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": metadata(stack, names.license_proxy(stack.name), Component.LICENSE),
        "spec": {
            "serviceName": _pods_service(stack),
            "podManagementPolicy": "Parallel",
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
            "selector": {"matchLabels": selector(stack, Component.LICENSE)},
            "template": _template(stack, release),
            # A journal holds what is not billed yet; a person deletes it (KEP-1847).
            "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain", "whenScaled": "Retain"},
            **claims,
        },
    }


def _template(stack: Stack, release: Release) -> Manifest:
    wanted, image = stack.spec.license, stack.spec.images.license_proxy or release.images["license-proxy"]
    volumes = [credential_volume(stack), _license_volume(stack), *_authority_volumes(stack), temporary()]
    journal = Volume(JOURNAL, {}, JOURNAL_FOLDER)  # of a claim: the StatefulSet adds its pod's part
    if wanted.ephemeral:
        journal = Volume(JOURNAL, {"emptyDir": {"sizeLimit": str(wanted.storage)}}, JOURNAL_FOLDER)
    proxy = container(
        stack,
        name="license-proxy",
        image=image,
        env=environment(_variables(stack)),
        ports={"http": LICENSE_PORT},
        resources=requests_and_limits(wanted.resources),
        volumes=[*volumes, journal],
        **probes("http", started="/healthz", ready="/readyz", alive="/healthz", start_seconds=START_SECONDS),
    )
    return pod_template(
        stack,
        labels=labels(stack, Component.LICENSE),
        annotations={},
        selected=selector(stack, Component.LICENSE),
        main=proxy,
        volumes=[*volumes, journal] if wanted.ephemeral else volumes,
        placement=wanted.placement,
        grace_seconds=END_SECONDS,
    )


def _license_volume(stack: Stack) -> Volume:
    wanted = stack.spec.license
    files = {LICENSE_FILE: wanted.key}
    if wanted.extra_keys_key is not None:
        files[EXTRA_KEYS_FILE] = wanted.extra_keys_key
    if wanted.usage_api_key_key is not None:
        files[API_KEY_FILE] = wanted.usage_api_key_key
    return secret_volume("license", wanted.secret_name, FOLDER, files=files)


def _authority_volumes(stack: Stack) -> list[Volume]:
    wanted, volumes = stack.spec.license.authority, []
    if wanted.ca_secret_name is not None:
        files = {AUTHORITY_CA_FILE: wanted.ca_key}
        volumes.append(secret_volume("authority-ca", wanted.ca_secret_name, AUTHORITY_CA_FOLDER, files=files))
    if wanted.client_certificate_secret_name is not None:
        secret, files = wanted.client_certificate_secret_name, {name: name for name in ("tls.crt", "tls.key")}
        volumes.append(secret_volume("authority-client", secret, CLIENT_CERTIFICATE_FOLDER, files=files))
    return volumes


def _variables(stack: Stack) -> dict[str, str | None]:
    wanted = stack.spec.license
    return {
        "HTTP_PORT": str(LICENSE_PORT),
        "LICENSE_FILE_PATH": f"{FOLDER}/{LICENSE_FILE}",
        "LICENSE_EXTRA_KEYS_FILE": f"{FOLDER}/{EXTRA_KEYS_FILE}" if wanted.extra_keys_key else None,
        "USAGE_TRACKING_API_KEY_FILE": f"{FOLDER}/{API_KEY_FILE}" if wanted.usage_api_key_key else None,
        **_authority_variables(stack),
        "STATE_DIR": JOURNAL_FOLDER,
        "USAGE_SELF_TERMINATE_MINUTES": None
        if wanted.self_terminate_minutes is None
        else str(wanted.self_terminate_minutes),
        "STREAMSTACK_CREDENTIAL_FILE": CREDENTIAL_FILE,
        "LOGGING_LEVEL": stack.spec.logging.level.upper(),
        "USE_STRUCTURED_LOGGING": str(stack.spec.logging.structured).lower(),
    }


def _authority_variables(stack: Stack) -> dict[str, str | None]:
    wanted = stack.spec.license.authority
    with_certificate = wanted.client_certificate_secret_name is not None
    return {
        "LICENSE_AUTHORITY_ENDPOINT": wanted.endpoint,
        "LICENSE_AUTHORITY_CA_FILE": f"{AUTHORITY_CA_FOLDER}/{AUTHORITY_CA_FILE}" if wanted.ca_secret_name else None,
        "LICENSE_AUTHORITY_CERTIFICATE_FILE": f"{CLIENT_CERTIFICATE_FOLDER}/tls.crt" if with_certificate else None,
        "LICENSE_AUTHORITY_KEY_FILE": f"{CLIENT_CERTIFICATE_FOLDER}/tls.key" if with_certificate else None,
        "LICENSE_AUTHORITY_INSECURE": "true" if wanted.insecure else None,
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
        "metadata": {"name": JOURNAL},
        "spec": spec,
    }
