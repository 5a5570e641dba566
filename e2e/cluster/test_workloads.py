"""What a cluster gives to what runs on it: images, volumes, names and routes between nodes, GPUs to schedule by."""

import json
import time
from typing import Any

from e2e.cluster.conftest import NAMESPACE, MakeImage, hack_cluster

from devcluster.cluster_state import ClusterFacts
from devcluster.kube import Kube

READY = "--for=condition=Ready"
LOCKED_UP = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}


def pod(name: str, image: str, command: list[str], *, node: str | None = None, **spec: Any) -> dict[str, Any]:
    """A pod of one container, not root; more fields of its spec, or of its container's under ``container``."""
    container = {
        "name": "main",
        "image": image,
        "imagePullPolicy": "Never",
        "command": command,
        "securityContext": LOCKED_UP,
        **spec.pop("container", {}),
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": {"app": name}},
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "securityContext": {"runAsNonRoot": True, "runAsUser": 10001, "seccompProfile": {"type": "RuntimeDefault"}},
            "nodeSelector": {"kubernetes.io/hostname": node} if node else {},
            "containers": [container],
            **spec,
        },
    }


def apply(kube: Kube, *objects: dict[str, Any]) -> None:
    kube.apply(json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)}))


def wait(kube: Kube, what: str, condition: str) -> None:
    kube.capture("--namespace", NAMESPACE, "wait", condition, what, "--timeout=90s", timeout_seconds=100)


def logs(kube: Kube, name: str) -> str:
    return kube.capture("--namespace", NAMESPACE, "logs", name)


def delete(kube: Kube, name: str) -> None:
    kube.capture("--namespace", NAMESPACE, "delete", "pod", name, "--wait=true")


def workers(kube: Kube) -> list[str]:
    nodes = kube.objects("nodes", "--selector=!node-role.kubernetes.io/control-plane")
    return [node["metadata"]["name"] for node in nodes]


def test_an_image_is_copied_once_and_again_only_when_it_changed(
    kube: Kube, cluster: ClusterFacts, make_image: MakeImage
) -> None:
    image = make_image("changing", "first")
    command = ["load", "--name", cluster.name, image]
    assert f"loaded {image}" in hack_cluster(*command).stderr
    assert "every node has them already" in hack_cluster(*command).stderr
    first, second = workers(kube)
    apply(kube, pod("before", image, ["cat", "/word"], node=second, restartPolicy="Never"))
    wait(kube, "pod/before", "--for=jsonpath={.status.phase}=Succeeded")

    make_image("changing", "second")
    assert f"loaded {image}" in hack_cluster(*command).stderr

    for node in (first, second):
        apply(kube, pod(f"on-{node}", image, ["cat", "/word"], node=node, restartPolicy="Never"))
        wait(kube, f"pod/on-{node}", "--for=jsonpath={.status.phase}=Succeeded")
        assert logs(kube, f"on-{node}") == "second"
    assert logs(kube, "before") == "first"


def test_an_image_that_the_engine_does_not_have_is_named(cluster: ClusterFacts) -> None:
    done = hack_cluster("load", "--name", cluster.name, "no/such:1")
    assert (done.returncode, "the Docker engine has no image no/such:1" in done.stderr) == (1, True)


def test_a_volume_is_written_by_a_pod_that_is_not_root_and_outlives_it(kube: Kube, shell_image: str) -> None:
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data", "namespace": NAMESPACE},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}},
    }
    mounted = {"container": {"volumeMounts": [{"name": "data", "mountPath": "/data"}]}}
    volumes = [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]
    write = ["sh", "-c", "echo kept by $(id -u) > /data/x; ! echo no > /x"]
    apply(kube, claim, pod("writer", shell_image, write, volumes=volumes, restartPolicy="Never", **mounted))
    wait(kube, "pod/writer", "--for=jsonpath={.status.phase}=Succeeded")
    delete(kube, "writer")

    reader = pod("reader", shell_image, ["cat", "/data/x"], volumes=volumes, restartPolicy="Never", **mounted)
    apply(kube, reader)
    wait(kube, "pod/reader", "--for=jsonpath={.status.phase}=Succeeded")
    assert logs(kube, "reader") == "kept by 10001\n"


def test_pods_reach_each_other_across_nodes_by_address_by_service_and_by_name(kube: Kube, shell_image: str) -> None:
    first, second = workers(kube)
    serve = ["httpd", "-f", "-p", "8080", "-h", "/"]
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "served", "namespace": NAMESPACE},
        "spec": {"selector": {"app": "server"}, "ports": [{"port": 80, "targetPort": 8080}]},
    }
    probe = {"container": {"readinessProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 1}}}
    apply(
        kube,
        service,
        pod("server", shell_image, serve, node=first, **probe),
        pod("near", shell_image, ["sleep", "1000"], node=first),
        pod("far", shell_image, ["sleep", "1000"], node=second),
    )
    for name in ("server", "near", "far"):
        wait(kube, f"pod/{name}", READY)
    address = kube.capture("--namespace", NAMESPACE, "get", "pod", "server", "--output=jsonpath={.status.podIP}")
    virtual = kube.capture("--namespace", NAMESPACE, "get", "service", "served", "--output=jsonpath={.spec.clusterIP}")
    for client in ("far", "near", "server"):
        inside = ("--namespace", NAMESPACE, "exec", client, "--", "sh", "-c")
        for host, port in ((address, 8080), (virtual, 80)):
            asked = f"printf 'GET /word HTTP/1.0\\r\\n\\r\\n' | nc -w 10 {host} {port}"
            assert kube.capture(*inside, asked).endswith("shell"), f"{client} to {host}"
        found = kube.capture(*inside, f"nslookup served.{NAMESPACE}.svc.cluster.local")
        assert virtual in found, client


def test_pods_are_scheduled_by_gpus_that_are_not_there(kube: Kube, cluster: ClusterFacts, shell_image: str) -> None:
    assert hack_cluster("up", "--name", cluster.name, "--fake-gpus", "1").returncode == 0
    try:
        one = {"container": {"resources": {"limits": {"nvidia.com/gpu": "1"}}}}
        names = ["gpu-0", "gpu-1", "gpu-2"]
        apply(kube, *(pod(name, shell_image, ["sleep", "1000"], **one) for name in names))
        deadline = time.monotonic() + 60
        while True:
            pods = kube.objects("pods", f"--namespace={NAMESPACE}")
            placed = [item["spec"].get("nodeName") for item in pods if item["metadata"]["name"] in names]
            refused = [
                condition
                for item in pods
                if item["metadata"]["name"] in names
                for condition in item["status"].get("conditions", [])
                if condition.get("reason") == "Unschedulable"
            ]
            if len([node for node in placed if node]) == 2 and refused:
                break
            assert time.monotonic() < deadline, placed
            time.sleep(0.2)
        assert sorted(node for node in placed if node) == sorted(workers(kube)), "one GPU a node"
        assert "Insufficient nvidia.com/gpu" in refused[0]["message"]
        for name in names:
            delete(kube, name)
    finally:
        assert hack_cluster("up", "--name", cluster.name, "--fake-gpus", "0").returncode == 0
    nodes = kube.objects("nodes")
    assert not any("nvidia.com/gpu" in node["status"]["capacity"] for node in nodes)
