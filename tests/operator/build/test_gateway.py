"""The gateways' pods, read as the gateway itself reads them."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings

from streamstack_gateway.models import ModelMap
from streamstack_gateway.placement.config import PlacementConfig, parse_pools
from streamstack_gateway.settings import GatewaySettings
from streamstack_operator.build import gateway
from streamstack_operator.facts import Stack
from streamstack_operator.model.spec import Balancer, StreamingStackSpec
from support.manifests import everything, files, gateways, main_container, of_kind, template, variables
from support.stack_specs import stack, stacks


def given_stack(**fields: Any) -> Stack:
    known = {"license": {"secretName": "license"}, "pools": [{"name": "english"}]}
    return stack(StreamingStackSpec.model_validate(known | fields))


def settings_of(made: Stack, monkeypatch: pytest.MonkeyPatch) -> GatewaySettings:
    """The gateway's settings in such a pod."""
    with monkeypatch.context() as patch:
        for name, value in variables(gateways(made).deployment).items():
            if isinstance(value, str):
                patch.setenv(name, value)
        return GatewaySettings()


def placement_of(settings: GatewaySettings) -> PlacementConfig:
    return PlacementConfig(parse_pools(settings.pools), balancer=settings.asr_endpoint)


@pytest.fixture(scope="module")
def environment():
    """One for all examples: every example puts it back."""
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@settings(max_examples=40)
@given(stacks())
def test_the_gateway_takes_its_environment_and_means_what_the_spec_says(environment, made: Stack) -> None:
    settings, spec = settings_of(made, environment), made.spec
    assert settings.capacity == spec.gateway.capacity
    assert settings.session_limit == (spec.gateway.limits.max_sessions or 4 * spec.gateway.capacity)
    assert settings.max_connections == spec.gateway.limits.max_connections
    assert settings.buffer_megabytes == spec.gateway.limits.buffer_megabytes
    assert settings.max_session_seconds == spec.max_session_seconds
    assert settings.asr_wait_seconds == spec.asr_wait_seconds
    assert (settings.port, settings.internal_port) == (8080, 8090)
    assert (settings.tls_certificate_file is not None) == (spec.gateway.tls is not None)
    assert (settings.token_key_file is not None) == spec.gateway.auth.temporary_tokens
    assert settings.logging_level == spec.logging.level.upper()
    assert settings.use_structured_logging == spec.logging.structured


@settings(max_examples=40)
@given(stacks())
def test_the_gateway_finds_every_pool_and_knows_its_models(environment, made: Stack) -> None:
    settings = settings_of(made, environment)
    placement = placement_of(settings)
    assert [(pool.name, pool.model_version) for pool in placement.pools] == [
        (pool.name, pool.routing_name) for pool in made.spec.pools
    ]
    in_cluster = f".{made.namespace}.svc.{made.spec.cluster_domain}:50051"
    if made.spec.balancer is Balancer.NGINX:
        assert placement.balancer == f"{made.name}-asr-lb{in_cluster}"
        assert all(pool.targets == () for pool in placement.pools)
    else:
        assert placement.balancer is None
        assert [pool.targets for pool in placement.pools] == [
            (f"{made.name}-asr-{pool.name}{in_cluster}",) for pool in made.spec.pools
        ]
    models = ModelMap.configure(
        {pool.model_version: pool.name for pool in placement.pools},
        aliases=settings.model_aliases,
        fallbacks=settings.model_fallbacks,
        default=settings.model_default,
    )
    assert set(made.spec.gateway.model_aliases) - {"*"} <= set(models.known)


@settings(max_examples=40)
@given(stacks())
def test_a_stopped_gateway_ends_before_the_kubelet_kills_it_and_after_its_longest_session(
    environment, made: Stack
) -> None:
    pod = template(gateways(made).deployment)["spec"]
    leaving = main_container(gateways(made).deployment)["lifecycle"]["preStop"]["sleep"]["seconds"]
    settings = settings_of(made, environment)
    assert settings.grace_seconds > made.spec.max_session_seconds
    assert leaving + settings.grace_seconds + 10 <= pod["terminationGracePeriodSeconds"]
    margin = pod["terminationGracePeriodSeconds"] - made.spec.max_session_seconds
    assert margin == made.spec.drain.margin_seconds


@settings(max_examples=40)
@given(stacks())
def test_variables_that_the_operator_sets_win_over_those_of_the_spec(made: Stack) -> None:
    bare = made.spec.gateway.model_copy(update={"env": []})
    without = replace(made, spec=made.spec.model_copy(update={"gateway": bare}))
    found, own = variables(gateways(made).deployment), variables(gateways(without).deployment)
    assert found.items() >= (own | {"REVISION": gateways(made).revision}).items()
    for variable in made.spec.gateway.env:
        if variable.name not in own:
            reference = variable.secret_key_ref
            assert found[variable.name] == (
                variable.value
                if reference is None
                else {"secretKeyRef": {"name": reference.name, "key": reference.key}}
            )


def test_its_files_are_those_of_the_credential_and_what_was_asked_for() -> None:
    plain = given_stack(gateway={"auth": {"temporaryTokens": False}})
    assert files(gateways(plain).deployment) == {"/run/streamstack/credential": "demo-credential/credential"}
    full = given_stack(gateway={"tls": {"secretName": "edge"}})
    found = files(gateways(full).deployment)
    settings = variables(gateways(full).deployment)
    assert found[settings["TOKEN_KEY_FILE"]] == "demo-credential/token-key"
    assert found[settings["SSL_CERT_PATH"]] == "edge/tls.crt"
    assert found[settings["SSL_CERT_KEY"]] == "edge/tls.key"
    assert found[settings["STREAMSTACK_CREDENTIAL_FILE"]] == "demo-credential/credential"


def test_nobody_evicts_a_gateway_and_no_annotation_of_the_spec_changes_that() -> None:
    key = "cluster-autoscaler.kubernetes.io/safe-to-evict"
    made = given_stack(gateway={"annotations": {key: "true", "own.example/note": "here"}})
    annotations = template(gateways(made).deployment)["metadata"]["annotations"]
    assert annotations == {key: "false", "karpenter.sh/do-not-disrupt": "true", "own.example/note": "here"}
    budget = gateway.budget(made, "0a1b2c3d")
    assert budget["spec"]["maxUnavailable"] == 0
    assert budget["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow"


def test_the_service_speaks_websocket_and_with_the_gateways_own_tls_says_so_to_every_controller() -> None:
    (plain,) = gateway.service(given_stack(), "0a1b2c3d")["spec"]["ports"]
    assert (plain["port"], plain["targetPort"], plain["appProtocol"]) == (80, "ws", "kubernetes.io/ws")
    secure = given_stack(gateway={"tls": {"secretName": "edge"}}, ingress={"host": "a.example", "profile": "Traefik"})
    service = gateway.service(secure, "0a1b2c3d")
    (port,) = service["spec"]["ports"]
    assert (port["port"], port["targetPort"], port["appProtocol"]) == (443, "ws", "kubernetes.io/wss")
    assert service["metadata"]["annotations"] == {"traefik.ingress.kubernetes.io/service.serversscheme": "https"}


def test_peers_are_the_pods_behind_the_clients_service_by_their_own_addresses() -> None:
    of_clients, of_peers = gateway.services(given_stack(), "0a1b2c3d")
    assert of_peers["spec"]["clusterIP"] == "None"
    assert of_peers["spec"]["selector"] == of_clients["spec"]["selector"]
    (address,) = (name for name in variables(gateways(given_stack()).deployment).items() if name[0] == "GATEWAY_PEERS")
    assert address[1].split(".")[0] == of_peers["metadata"]["name"]


def test_internal_ports_are_in_no_service_of_the_edge() -> None:
    for service in of_kind(everything(given_stack()), "Service"):
        assert all(port["targetPort"] != "internal" for port in service["spec"]["ports"])
