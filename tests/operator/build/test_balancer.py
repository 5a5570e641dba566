"""The balancer's pods: rolled when nginx.conf changes, and gone only when their streams are."""

from typing import Any

from streamstack_operator.facts import Manifest, Stack
from streamstack_operator.model.spec import StreamingStackSpec
from streamstack_operator.names import ANNOTATION_CONFIG_HASH
from support.manifests import everything, main_container, of_kind, template
from support.stack_specs import stack


def balanced(**fields: Any) -> Stack:
    known = {"license": {"secretName": "license"}, "pools": [{"name": "english"}], "balancer": "Nginx"}
    return stack(StreamingStackSpec.model_validate(known | fields))


def found(made: Stack, kind: str) -> Manifest:
    (manifest,) = (one for one in of_kind(everything(made), kind) if one["metadata"]["name"] == "demo-asr-lb")
    return manifest


def config_hash(made: Stack) -> str:
    return str(template(found(made, "Deployment"))["metadata"]["annotations"][ANNOTATION_CONFIG_HASH])


def test_there_is_none_where_gateways_choose_the_server_themselves() -> None:
    assert all(manifest["metadata"]["name"] != "demo-asr-lb" for manifest in everything(stack()))


def test_nginx_is_started_with_the_configuration_that_is_mounted() -> None:
    made = balanced()
    container, volumes = (
        main_container(found(made, "Deployment")),
        template(found(made, "Deployment"))["spec"]["volumes"],
    )
    (mount,) = (mount for mount in container["volumeMounts"] if mount["name"] == "config")
    (source,) = (volume["configMap"]["name"] for volume in volumes if volume["name"] == "config")
    config_map = found(made, "ConfigMap")
    assert source == config_map["metadata"]["name"]
    (file,) = config_map["data"]
    assert container["args"] == ["-c", f"{mount['mountPath']}/{file}"]


def test_what_changes_the_configuration_rolls_the_pods_and_nothing_else_does() -> None:
    assert config_hash(balanced(pools=[{"name": "english"}, {"name": "pro"}])) != config_hash(balanced())
    assert config_hash(balanced(gateway={"capacity": 64})) != config_hash(balanced())
    assert config_hash(balanced(pools=[{"name": "english", "slots": 3}])) == config_hash(balanced())
    assert config_hash(balanced(nginx={"replicas": 5})) == config_hash(balanced())


def test_a_pod_that_is_asked_to_go_may_take_as_long_as_its_longest_stream() -> None:
    made = balanced(maxSessionSeconds=100, drain={"marginSeconds": 60})
    assert template(found(made, "Deployment"))["spec"]["terminationGracePeriodSeconds"] == 160
    assert "worker_shutdown_timeout" not in found(made, "ConfigMap")["data"]["nginx.conf"]


def test_a_new_pod_runs_before_an_old_one_is_asked_to_go() -> None:
    strategy = found(balanced(), "Deployment")["spec"]["strategy"]
    assert strategy == {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
