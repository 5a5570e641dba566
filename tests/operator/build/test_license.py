"""The license proxy's pods, read as the proxy itself reads them."""

from typing import Any

import pytest
from hypothesis import given, settings

from streamstack_license_proxy.settings import LicenseProxySettings
from streamstack_operator.facts import Manifest, Stack
from streamstack_operator.model.spec import StreamingStackSpec
from support.manifests import everything, files, gateways, main_container, of_kind, variables
from support.stack_specs import stack, stacks


def with_license(**fields: Any) -> Stack:
    spec = {"license": {"secretName": "license"} | fields, "pools": [{"name": "english"}]}
    return stack(StreamingStackSpec.model_validate(spec))


def proxy(made: Stack) -> Manifest:
    (found,) = of_kind(everything(made), "StatefulSet")
    return found


@pytest.fixture(scope="module")
def environment():
    """One for all examples: every example puts it back."""
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@settings(max_examples=40)
@given(stacks())
def test_the_proxy_takes_its_environment_and_finds_the_secrets_keys(environment, made: Stack) -> None:
    with environment.context() as patch:
        for name, value in variables(proxy(made)).items():
            patch.setenv(name, value)
        settings = LicenseProxySettings()
    found, wanted = files(proxy(made)), made.spec.license
    assert settings.http_port == 8080
    assert found[str(settings.license_file_path)] == f"{wanted.secret_name}/{wanted.key}"
    assert found[settings.credential_file] == f"{made.name}-credential/credential"
    keys = settings.license_extra_keys_file
    assert (found[str(keys)] if keys else None) == (
        f"{wanted.secret_name}/{wanted.extra_keys_key}" if wanted.extra_keys_key else None
    )


@settings(max_examples=40)
@given(stacks())
def test_gateways_ask_the_service_that_the_proxies_have(made: Stack) -> None:
    asked = variables(gateways(made).deployment)["AAI_LICENSE_AND_USAGE_PROXY_ENDPOINT"]
    services = {
        f"http://{service['metadata']['name']}.{made.namespace}.svc.{made.spec.cluster_domain}:{port['port']}"
        for service in of_kind(everything(made), "Service")
        for port in service["spec"]["ports"]
        if "clusterIP" not in service["spec"]
    }
    assert asked in services


def test_every_replica_has_a_journal_of_its_own_that_outlives_the_stack() -> None:
    spec = proxy(with_license(storage="5Gi", storageClassName="fast"))["spec"]
    assert spec["persistentVolumeClaimRetentionPolicy"] == {"whenDeleted": "Retain", "whenScaled": "Retain"}
    assert spec["podManagementPolicy"] == "Parallel"
    (claim,) = spec["volumeClaimTemplates"]
    assert claim["metadata"]["name"] == "journal"
    assert claim["spec"] == {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "5Gi"}},
        "storageClassName": "fast",
    }
    mounts = main_container({"spec": spec})["volumeMounts"]
    assert {"name": "journal", "mountPath": "/var/lib/streamstack"} in mounts


def test_the_governing_service_is_headless_and_another_than_the_one_that_gateways_ask() -> None:
    made = with_license()
    services = {service["metadata"]["name"]: service["spec"] for service in of_kind(everything(made), "Service")}
    assert services[proxy(made)["spec"]["serviceName"]]["clusterIP"] == "None"
    assert services["demo-license-proxy"]["type"] == "ClusterIP"
