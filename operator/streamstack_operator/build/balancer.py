"""The nginx balancer: a Deployment that is rolled when its configuration changes; streams end before its pods do."""

import hashlib
from typing import Final

from streamstack_operator import names
from streamstack_operator.build import workload
from streamstack_operator.build.meta import labels, metadata, selector
from streamstack_operator.build.nginx_conf import configuration
from streamstack_operator.build.pod import Volume, container, pod_template, probes, requests_and_limits, temporary
from streamstack_operator.facts import Manifest, Release, Stack
from streamstack_operator.model.spec import Balancer
from streamstack_operator.model.workload import Disruption
from streamstack_operator.names import ANNOTATION_CONFIG_HASH, ASR_PORT, BALANCER_HEALTH_PORT, Component

FOLDER: Final = "/etc/streamstack"
FILE: Final = "nginx.conf"
HEALTH: Final = "/nginx_health"
LEAVE_SECONDS: Final = 5
"""nginx stops listening at once when it is asked to go; gateways hear a little later that the pod goes."""


def children(stack: Stack, release: Release) -> tuple[Manifest, ...]:
    """Return all of the balancer in the order in which it is applied; nothing where gateways choose themselves."""
    if stack.spec.balancer is not Balancer.NGINX:
        return ()
    name, text = names.balancer(stack.name), configuration(stack)
    return (
        _config_map(stack, text),
        workload.deployment(stack, name, Component.BALANCER, _template(stack, release, text)),
        _service(stack),
        workload.budget(stack, name, Component.BALANCER, Disruption(max_unavailable=1)),
    )


def _config_map(stack: Stack, text: str) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata(stack, names.balancer(stack.name), Component.BALANCER),
        "data": {FILE: text},
    }


def _service(stack: Stack) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(stack, names.balancer(stack.name), Component.BALANCER),
        "spec": {
            "type": "ClusterIP",
            "selector": selector(stack, Component.BALANCER),
            "ports": [workload.grpc_port()],
        },
    }


def _template(stack: Stack, release: Release, text: str) -> Manifest:
    """The image's stop signal is SIGQUIT: nginx goes when its last stream is over, and the grace lets it."""
    wanted = stack.spec.nginx
    configured = {"configMap": {"name": names.balancer(stack.name), "defaultMode": 0o444}}
    volumes = [Volume("config", configured, FOLDER, read_only=True), temporary()]
    nginx = container(
        stack,
        name="nginx",
        image=stack.spec.images.balancer or release.images["asr-lb"],
        args=["-c", f"{FOLDER}/{FILE}"],
        ports={"grpc": ASR_PORT, "health": BALANCER_HEALTH_PORT},
        resources=requests_and_limits(wanted.resources),
        volumes=volumes,
        lifecycle={"preStop": {"sleep": {"seconds": LEAVE_SECONDS}}},  # KEP-3960
        **probes("health", started=HEALTH, ready=HEALTH, alive=HEALTH, start_seconds=60),
    )
    return pod_template(
        stack,
        labels=labels(stack, Component.BALANCER),
        annotations={ANNOTATION_CONFIG_HASH: hashlib.sha256(text.encode()).hexdigest()},
        selected=selector(stack, Component.BALANCER),
        main=nginx,
        volumes=volumes,
        placement=wanted.placement,
        grace_seconds=stack.spec.max_session_seconds + stack.spec.drain.margin_seconds,
    )
