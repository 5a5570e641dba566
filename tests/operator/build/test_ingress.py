"""The edge: an Ingress for each kind of controller, and an HTTPRoute."""

from typing import Any

import pytest
from hypothesis import given, settings

from streamstack_operator.build import gateway
from streamstack_operator.facts import Manifest, Stack
from streamstack_operator.model.spec import StreamingStackSpec
from support.manifests import everything, of_kind
from support.stack_specs import stack, stacks


def with_edge(**fields: Any) -> Stack:
    known = {"license": {"secretName": "license"}, "pools": [{"name": "english"}]}
    return stack(StreamingStackSpec.model_validate(known | fields))


def ingress(fields: dict[str, Any], **more: Any) -> Manifest:
    (found,) = of_kind(everything(with_edge(ingress={"host": "calls.example"} | fields, **more)), "Ingress")
    return found


def annotations(fields: dict[str, Any], **more: Any) -> dict[str, str]:
    found: dict[str, str] = ingress(fields, **more)["metadata"].get("annotations", {})
    return found


TLS = {"tls": {"secretName": "edge"}}
OWN_TLS = {"gateway": {"tls": {"secretName": "inside"}}}


def test_an_ingress_sends_a_host_to_the_gateways_service() -> None:
    spec = ingress({"className": "traefik"} | TLS)["spec"]
    assert spec["ingressClassName"] == "traefik"
    assert spec["tls"] == [{"hosts": ["calls.example"], "secretName": "edge"}]
    (rule,) = spec["rules"]
    assert rule["host"] == "calls.example"
    (path,) = rule["http"]["paths"]
    assert (path["path"], path["pathType"]) == ("/", "Prefix")
    assert path["backend"] == {"service": {"name": "demo-gateway", "port": {"name": "ws"}}}


def test_without_class_or_certificate_the_clusters_own_are_used() -> None:
    spec = ingress({})["spec"]
    assert "ingressClassName" not in spec
    assert "tls" not in spec


@pytest.mark.parametrize(
    ("profile", "plain", "with_own_tls"),
    [
        ("None", {}, {}),
        ("Traefik", {}, {}),
        (
            "HAProxy",
            {"haproxy.org/scale-server-slots": "42"},
            {"haproxy.org/scale-server-slots": "42", "haproxy.org/server-ssl": "true"},
        ),
        (
            "HAProxyIngress",
            {"haproxy-ingress.github.io/timeout-tunnel": "11100s"},
            {
                "haproxy-ingress.github.io/timeout-tunnel": "11100s",
                "haproxy-ingress.github.io/backend-protocol": "h1-ssl",
            },
        ),
        (
            "IngressNginx",
            {
                "nginx.ingress.kubernetes.io/proxy-read-timeout": "3600",
                "nginx.ingress.kubernetes.io/proxy-send-timeout": "3600",
            },
            {
                "nginx.ingress.kubernetes.io/proxy-read-timeout": "3600",
                "nginx.ingress.kubernetes.io/proxy-send-timeout": "3600",
                "nginx.ingress.kubernetes.io/backend-protocol": "HTTPS",
            },
        ),
    ],
)
def test_a_profile_is_what_its_controller_reads_from_an_ingress(
    profile: str, plain: dict[str, str], with_own_tls: dict[str, str]
) -> None:
    assert annotations({"profile": profile}) == plain
    assert annotations({"profile": profile}, **OWN_TLS) == with_own_tls


def test_traefik_serves_a_host_with_a_certificate_on_its_tls_port_alone() -> None:
    key = "traefik.ingress.kubernetes.io/router.entrypoints"
    assert annotations({"profile": "Traefik"} | TLS) == {key: "websecure"}


def test_haproxy_has_room_for_every_gateway_there_may_be() -> None:
    many = {"gateway": {"replicas": 3, "autoscaling": {"maxReplicas": 80}}}
    assert annotations({"profile": "HAProxy"}, **many) == {"haproxy.org/scale-server-slots": "81"}


def test_annotations_of_the_spec_win_over_the_profiles() -> None:
    key = "traefik.ingress.kubernetes.io/router.entrypoints"
    given_ones = {key: "calls", "own.example/note": "here"}
    assert annotations({"profile": "Traefik", "annotations": given_ones} | TLS) == given_ones


def test_a_route_is_attached_to_its_gateways_and_names_the_services_port() -> None:
    parents = [{"name": "edge", "namespace": "edge", "sectionName": "https"}, {"name": "own"}]
    fields = {"hostnames": ["calls.example"], "parentRefs": parents}
    (route,) = of_kind(everything(with_edge(httpRoute=fields)), "HTTPRoute")
    assert route["spec"]["parentRefs"] == parents
    assert route["spec"]["hostnames"] == ["calls.example"]
    assert route["spec"]["rules"][0]["backendRefs"] == [{"name": "demo-gateway", "port": 80}]


@settings(max_examples=40)
@given(stacks())
def test_every_way_in_leads_to_a_port_that_the_gateways_service_has(made: Stack) -> None:
    service = gateway.service(made, "0a1b2c3d")
    (port,) = service["spec"]["ports"]
    rendered = everything(made)
    assert len(of_kind(rendered, "Ingress")) == (made.spec.ingress is not None)
    assert len(of_kind(rendered, "HTTPRoute")) == (made.spec.http_route is not None)
    for found in of_kind(rendered, "Ingress"):
        backend = found["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]
        assert (backend["name"], backend["port"]["name"]) == (service["metadata"]["name"], port["name"])
    for found in of_kind(rendered, "HTTPRoute"):
        (backend,) = found["spec"]["rules"][0]["backendRefs"]
        assert (backend["name"], backend["port"]) == (service["metadata"]["name"], port["port"])
