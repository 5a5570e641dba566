"""The license proxy's pods, read as the proxy itself reads them."""

from typing import Any

import pytest
from hypothesis import given, settings

from streamstack_license_proxy.settings import LicenseProxySettings
from streamstack_operator.facts import Manifest, Stack
from streamstack_operator.model.spec import StreamingStackSpec
from support.manifests import everything, files, gateways, main_container, of_kind, template, variables
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
    assert str(settings.state_dir) == "/var/lib/streamstack"
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


def test_what_leads_to_the_authority_is_in_files_that_follow_their_secrets() -> None:
    made = with_license(
        usageApiKeyKey="usage",
        authority={
            "endpoint": "https://authority.example:8443",
            "caSecretName": "vendor",
            "caKey": "root.pem",
            "clientCertificateSecretName": "client",
        },
        selfTerminateMinutes=20,
    )
    found, wanted = files(proxy(made)), variables(proxy(made))
    assert {
        name: found.get(value, value) for name, value in wanted.items() if name.startswith(("LICENSE_A", "USAGE"))
    } == {
        "USAGE_TRACKING_API_KEY_FILE": "license/usage",
        "LICENSE_AUTHORITY_ENDPOINT": "https://authority.example:8443",
        "LICENSE_AUTHORITY_CA_FILE": "vendor/root.pem",
        "LICENSE_AUTHORITY_CERTIFICATE_FILE": "client/tls.crt",
        "LICENSE_AUTHORITY_KEY_FILE": "client/tls.key",
        "USAGE_SELF_TERMINATE_MINUTES": "20",
    }
    mounts = main_container(proxy(made))["volumeMounts"]
    assert [mount["name"] for mount in mounts if "subPath" in mount] == [], "a kubelet never renews files of a subPath"


def test_http_to_the_authority_is_spoken_only_where_it_is_asked_for() -> None:
    plain = with_license(authority={"endpoint": "http://authority.calls.svc:8080", "insecure": True})
    assert variables(proxy(plain))["LICENSE_AUTHORITY_INSECURE"] == "true"
    assert not [name for name in variables(proxy(with_license())) if name.startswith(("LICENSE_A", "USAGE"))]


def test_an_ephemeral_journal_is_on_the_node_within_its_limit_and_there_is_no_claim() -> None:
    spec = proxy(with_license(ephemeral=True, storage="2Gi"))["spec"]
    assert "volumeClaimTemplates" not in spec
    volumes = {volume["name"]: volume for volume in template({"spec": spec})["spec"]["volumes"]}
    assert volumes["journal"] == {"name": "journal", "emptyDir": {"sizeLimit": "2Gi"}}
    assert {"name": "journal", "mountPath": "/var/lib/streamstack"} in main_container({"spec": spec})["volumeMounts"]


def test_a_new_template_takes_one_proxy_after_the_other_and_so_do_evictions() -> None:
    made = everything(with_license(replicas=3))
    assert proxy(with_license())["spec"]["updateStrategy"] == {
        "type": "RollingUpdate",
        "rollingUpdate": {"partition": 0},
    }
    (budget,) = (each for each in of_kind(made, "PodDisruptionBudget") if "license" in each["metadata"]["name"])
    assert budget["spec"]["maxUnavailable"] == 1


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
