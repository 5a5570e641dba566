"""Who may reach what (DESIGN 3, sealed): a lint of the NetworkPolicies, for no engine enforces them in our clusters."""

from typing import Any

import pytest
from hypothesis import given, settings

from streamstack_operator.facts import Manifest, Stack
from streamstack_operator.model.spec import Balancer, StreamingStackSpec
from streamstack_operator.names import LABEL_COMPONENT, LABEL_POOL, Component
from support.manifests import everything, main_container, of_kind, template, workloads
from support.stack_specs import stack, stacks

KUBELETS_ALONE = {("asr-lb", "health")}
"""Ports that only probes use: a node's kubelet reaches its pods whatever the policies say."""


def with_policies(**fields: Any) -> Stack:
    known = {"license": {"secretName": "license"}, "pools": [{"name": "english"}]}
    return stack(StreamingStackSpec.model_validate(known | fields))


def policies(made: Stack) -> dict[str, Manifest]:
    """Specs by component, without those that only let pods out to fetch a model."""
    return {
        policy["metadata"]["labels"][LABEL_COMPONENT]: policy["spec"]
        for policy in of_kind(everything(made), "NetworkPolicy")
        if "ingress" in policy["spec"]
    }


def callers(made: Stack, component: str, port: str) -> Any:
    """Who may reach a port: peers, or "everybody"."""
    (rule,) = (rule for rule in policies(made)[component]["ingress"] if rule["ports"][0]["port"] == port)
    return rule.get("from", "everybody")


def pods(component: Component) -> dict[str, Any]:
    labels = {
        "app.kubernetes.io/name": "streamstack",
        "app.kubernetes.io/instance": "demo",
        "app.kubernetes.io/component": str(component),
    }
    return {"podSelector": {"matchLabels": labels}}


OPERATOR = {
    "namespaceSelector": {},
    "podSelector": {"matchLabels": {"app.kubernetes.io/name": "streamstack-operator"}},
}


@settings(max_examples=40)
@given(stacks())
def test_every_pod_is_in_exactly_one_policy_of_who_reaches_it_unless_there_are_to_be_none(made: Stack) -> None:
    rendered = everything(made)
    found = of_kind(rendered, "NetworkPolicy")
    for workload in workloads(rendered):
        labels = template(workload)["metadata"]["labels"]
        own = [policy for policy in found if policy["spec"]["podSelector"]["matchLabels"].items() <= labels.items()]
        of_ingress = [policy for policy in own if "Ingress" in policy["spec"]["policyTypes"]]
        assert len(of_ingress) == made.spec.network_policies.enabled, workload["metadata"]["name"]
        variables = {entry["name"] for entry in main_container(workload).get("env", ())}
        fetches = "MODEL_ARCHIVE" in variables and "MODEL_OFFLINE" not in variables
        assert len(own) - len(of_ingress) == (fetches and made.spec.network_policies.enabled)


@settings(max_examples=40)
@given(stacks())
def test_every_port_of_every_pod_may_be_reached_by_somebody_and_no_policy_names_another(made: Stack) -> None:
    if not made.spec.network_policies.enabled:
        return
    for workload in workloads(everything(made)):
        component = template(workload)["metadata"]["labels"][LABEL_COMPONENT]
        have = {port["name"] for port in main_container(workload)["ports"]}
        allowed = {port["port"] for rule in policies(made)[component]["ingress"] for port in rule["ports"]}
        assert have - allowed == {port for of, port in KUBELETS_ALONE if of == component}
        assert allowed <= have


@settings(max_examples=40)
@given(stacks())
def test_what_a_pod_is_let_out_to_lets_it_in(made: Stack) -> None:
    """Both ends of every way inside the stack agree, by component and port number."""
    if not made.spec.network_policies.enabled:
        return
    numbers = {
        (template(workload)["metadata"]["labels"][LABEL_COMPONENT], port["name"]): port["containerPort"]
        for workload in workloads(everything(made))
        for port in main_container(workload)["ports"]
    }
    out, into = set(), set()
    for component, policy in policies(made).items():
        for rule in policy.get("egress", ()):
            out |= {(component, target, port["port"]) for target in _own(rule["to"]) for port in rule["ports"]}
        for rule in policy["ingress"]:
            for source in _own(rule.get("from", ())):
                into |= {(source, component, numbers[component, port["port"]]) for port in rule["ports"]}
    # A balancer that is not there, but may come, has neither pods nor a policy.
    there = policies(made).keys()
    assert {way for way in out if way[1] in there} == {way for way in into if way[0] in there}


def _own(peers: list[Manifest]) -> set[str]:
    """Components of the stack among peers."""
    return {
        peer["podSelector"]["matchLabels"][LABEL_COMPONENT]
        for peer in peers
        if LABEL_COMPONENT in peer.get("podSelector", {}).get("matchLabels", {})
    }


@pytest.mark.parametrize("balancer", list(Balancer))
def test_audio_goes_to_speech_recognition_and_nowhere_else(balancer: Balancer) -> None:
    found = policies(with_policies(balancer=balancer))
    assert found["asr"]["policyTypes"] == ["Ingress", "Egress"]
    assert "egress" not in found["asr"]
    for component in found.keys() - {"license-proxy", "asr"}:
        assert "Egress" in found[component]["policyTypes"]
        ports = {port["port"] for rule in found[component]["egress"] for port in rule["ports"]}
        assert ports <= {50051, 8080, 53}


def test_pods_that_fetch_their_model_are_let_out_to_where_it_is_and_no_other_pool_is() -> None:
    archive = {"sha256": "0" * 64, "addresses": ["192.0.2.0/24", "2001:db8::/32"]}
    pools = [
        {"name": "english", "modelArchive": archive | {"url": "https://models.example/english.tar"}},
        {"name": "pro", "modelArchive": archive | {"url": "http://models.example:8080/pro.tar"}},
        {"name": "multilingual"},
        {
            "name": "own",
            "model": "own",
            "modelArchive": archive
            | {"url": "http://models.example/own.tar", "addresses": [], "store": {"claimName": "models"}},
        },
    ]
    found = of_kind(everything(with_policies(pools=pools)), "NetworkPolicy")
    more = {policy["metadata"]["name"]: policy for policy in found if "ingress" not in policy["spec"]}
    assert more.keys() == {"demo-asr-english-archive", "demo-asr-pro-archive"}
    for name, port in (("english", 443), ("pro", 8080)):
        policy = more[f"demo-asr-{name}-archive"]["spec"]
        assert policy["podSelector"]["matchLabels"][LABEL_POOL] == name
        assert policy["policyTypes"] == ["Egress"]
        out, dns = policy["egress"]
        blocks = [{"ipBlock": {"cidr": "192.0.2.0/24"}}, {"ipBlock": {"cidr": "2001:db8::/32"}}]
        assert out == {"to": blocks, "ports": [{"port": port, "protocol": "TCP"}]}
        assert {port["port"] for port in dns["ports"]} == {53}


@pytest.mark.parametrize("balancer", list(Balancer))
def test_no_cut_gateways_and_the_balancer_reach_speech_recognition_whichever_is_asked_for(balancer: Balancer) -> None:
    """After a change revisions that use the one live beside revisions that use the other, for up to three hours."""
    made = with_policies(balancer=balancer)
    assert callers(made, "asr", "grpc") == [pods(Component.GATEWAY), pods(Component.BALANCER)]
    if balancer is Balancer.NGINX:
        assert callers(made, "asr-lb", "grpc") == [pods(Component.GATEWAY)]


def test_proxies_are_let_out_to_wherever_the_license_says_its_authority_is() -> None:
    """A policy sees the port of a pod behind a Service, so a port of the authority's address says nothing."""
    assert policies(with_policies())["license-proxy"]["policyTypes"] == ["Ingress"]


def test_gateways_may_ask_by_udp_and_tcp_how_many_peers_they_have() -> None:
    (dns,) = (rule for rule in policies(with_policies())["gateway"]["egress"] if rule["ports"][0]["port"] == 53)
    assert [port["protocol"] for port in dns["ports"]] == ["UDP", "TCP"]


def test_everybody_reaches_the_client_port_unless_namespaces_are_named() -> None:
    assert callers(with_policies(), "gateway", "ws") == "everybody"
    named = {"clients": [{"kubernetes.io/metadata.name": "traefik"}, {"own.example/edge": "yes"}]}
    assert callers(with_policies(networkPolicies=named), "gateway", "ws") == [
        {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "traefik"}}},
        {"namespaceSelector": {"matchLabels": {"own.example/edge": "yes"}}},
    ]


def test_internal_ports_are_the_operators_and_monitorings() -> None:
    assert callers(with_policies(), "gateway", "internal") == [OPERATOR]
    monitoring = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}
    made = with_policies(networkPolicies={"monitoring": [{"kubernetes.io/metadata.name": "monitoring"}]})
    for component in ("gateway", "asr"):
        assert callers(made, component, "internal") == [OPERATOR, monitoring]
    assert callers(made, "license-proxy", "http") == [pods(Component.GATEWAY), OPERATOR, monitoring]
