"""charts/streamstack-operator, rendered without a cluster."""

import base64
import re
import tomllib
from pathlib import Path

import pytest
import yaml

from streamstack_common.credential import Credential
from streamstack_operator.names import INTERNAL_PORT, LABEL_MANAGED_BY, LABEL_NAME, LICENSE_PORT, MANAGED_BY
from streamstack_operator.settings import OperatorSettings
from support.golden import assert_golden
from support.helm import OPERATOR, Helm, HelmError, Manifest, Values, of_kind, one
from support.pod_security import violations

ROOT = OPERATOR.parents[1]
GOLDEN = Path(__file__).parent / "golden"
DEFINITION = ROOT / "crds/streamingstacks.yaml"
NAMESPACED = {"namespaces": ["speech", "speech-2"]}
LONGEST_RELEASE = "r" * 53


def container(manifests: list[Manifest]) -> Manifest:
    (found,) = one(manifests, "Deployment")["spec"]["template"]["spec"]["containers"]
    return found


def environment(manifests: list[Manifest]) -> dict[str, str | None]:
    return {variable["name"]: variable.get("value") for variable in container(manifests)["env"]}


def test_the_defaults_render_what_was_looked_at(helm: Helm) -> None:
    rendered = helm.rendered(OPERATOR, "--set=crds.enabled=false")
    rendered = re.sub(r"(credential: )\S{40,}", r"\1<random>", rendered)
    assert_golden(rendered, GOLDEN / "operator.yaml")


def test_helm_lint_finds_nothing(helm: Helm) -> None:
    helm("lint", "--strict", OPERATOR)


def test_charts_and_images_have_the_version_of_the_product(helm: Helm) -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    for chart in OPERATOR, OPERATOR.parent / "streamstack":
        about = yaml.safe_load((chart / "Chart.yaml").read_text())
        assert (about["version"], about["appVersion"]) == (version, version)
    assert container(helm.manifests(OPERATOR))["image"] == f"streamstack/operator:{version}"


def test_what_is_installed_is_the_definition_and_says_that_it_stays(helm: Helm) -> None:
    installed = one(helm.manifests(OPERATOR), "CustomResourceDefinition")
    assert installed["metadata"].pop("annotations") == {"helm.sh/resource-policy": "keep"}
    assert installed["metadata"].pop("labels")["app.kubernetes.io/managed-by"] == "Helm"
    assert installed == yaml.safe_load(DEFINITION.read_text())


def test_the_definition_goes_with_the_chart_only_when_told_so(helm: Helm) -> None:
    installed = one(helm.manifests(OPERATOR, "--set=crds.keep=false"), "CustomResourceDefinition")
    assert "annotations" not in installed["metadata"]
    assert "crds.keep is false" in helm.notes(OPERATOR, "--set=crds.keep=false")


def test_the_definition_can_be_left_to_somebody_else(helm: Helm) -> None:
    assert not of_kind(helm.manifests(OPERATOR, "--set=crds.enabled=false"), "CustomResourceDefinition")


@pytest.mark.parametrize("values", [{}, NAMESPACED, {"replicas": 2}, {"extraEnv": [{"name": "A", "value": "b"}]}])
def test_its_pods_keep_to_the_restricted_standard(helm: Helm, values: Values) -> None:
    assert violations(one(helm.manifests(OPERATOR, values=values), "Deployment")["spec"]["template"]["spec"]) == []


def test_with_namespaces_it_has_a_role_in_each_and_no_right_in_the_cluster(helm: Helm) -> None:
    everywhere, namespaced = helm.manifests(OPERATOR), helm.manifests(OPERATOR, values=NAMESPACED)
    assert not [kind for kind in ("ClusterRole", "ClusterRoleBinding") if of_kind(namespaced, kind)]
    rules = one(everywhere, "ClusterRole", "speech-demo-streamstack-operator")["rules"]
    roles = [role for role in of_kind(namespaced, "Role") if role["metadata"]["name"] == "demo-streamstack-operator"]
    assert {role["metadata"]["namespace"]: role["rules"] for role in roles} == {"speech": rules, "speech-2": rules}
    assert environment(namespaced)["NAMESPACES"] == "speech,speech-2"


@pytest.mark.parametrize("values", [{}, NAMESPACED])
def test_every_role_is_bound_to_the_service_account_that_its_pods_have(helm: Helm, values: Values) -> None:
    manifests = helm.manifests(OPERATOR, values=values | {"rbac": {"aggregate": False}})
    account = one(manifests, "Deployment")["spec"]["template"]["spec"]["serviceAccountName"]
    assert one(manifests, "ServiceAccount")["metadata"]["name"] == account
    for kind in "Role", "ClusterRole":
        roles = {(role["metadata"].get("namespace"), role["metadata"]["name"]) for role in of_kind(manifests, kind)}
        bound = {
            (binding["metadata"].get("namespace"), binding["roleRef"]["name"])
            for binding in of_kind(manifests, f"{kind}Binding")
            if binding["subjects"] == [{"kind": "ServiceAccount", "name": account, "namespace": "speech"}]
        }
        assert roles == bound


def test_its_rules_name_everything_and_never_list_secrets(helm: Helm) -> None:
    for role in [*of_kind(helm.manifests(OPERATOR), "ClusterRole"), *of_kind(helm.manifests(OPERATOR), "Role")]:
        for rule in role["rules"]:
            assert "*" not in [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]
            assert not ("secrets" in rule["resources"] and {"list", "watch", "delete"} & set(rule["verbs"]))
            assert not {"escalate", "bind", "impersonate"} & set(rule["verbs"])


def test_its_lease_is_the_only_one_it_may_touch(helm: Helm) -> None:
    manifests = helm.manifests(OPERATOR)
    role = one(manifests, "Role")
    held = [rule["resourceNames"] for rule in role["rules"] if "update" in rule["verbs"]]
    assert held == [[environment(manifests)["LEASE_NAME"]]]
    assert role["metadata"]["namespace"] == "speech"


def test_it_is_told_nothing_that_it_does_not_understand(helm: Helm) -> None:
    understood = {
        str(name)
        for field in OperatorSettings.model_fields.values()
        for name in getattr(field.validation_alias, "choices", ())
    }
    told = environment(helm.manifests(OPERATOR, values=NAMESPACED))
    assert told.keys() <= understood


def test_its_environment_makes_settings_of_it(helm: Helm, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment(
        helm.manifests(OPERATOR, values=NAMESPACED | {"imageRegistry": "r.example"})
    ).items():
        monkeypatch.setenv(name, value or f"from-{name.lower()}")  # what is missing comes from the pod (downward API)
    settings = OperatorSettings()
    assert (settings.namespaces, settings.elects) == (("speech", "speech-2"), True)
    assert settings.images == {
        name: f"r.example/streamstack/{name}:0.1.0"
        for name in ("gateway", "license-proxy", "asr-lb", "asr-sphinx", "asr-nemotron")
    }


@pytest.mark.parametrize(
    ("values", "image"),
    [
        ({}, "streamstack/operator:0.1.0"),
        ({"imageRegistry": "r.example:5000/mirror/"}, "r.example:5000/mirror/streamstack/operator:0.1.0"),
        ({"image": {"tag": "edge"}}, "streamstack/operator:edge"),
        ({"image": {"repository": "a/b", "tag": "x", "digest": "sha256:" + "0" * 64}}, "a/b@sha256:" + "0" * 64),
    ],
)
def test_an_image_is_registry_repository_and_tag_or_digest(helm: Helm, values: Values, image: str) -> None:
    assert container(helm.manifests(OPERATOR, values=values))["image"] == image


def test_its_credential_is_one_that_services_take(helm: Helm, tmp_path: Path) -> None:
    manifests = helm.manifests(OPERATOR)
    secret = one(manifests, "Secret")
    file = tmp_path / "credential"
    file.write_bytes(base64.b64decode(secret["data"]["credential"]))
    assert Credential(file).accepts(f"Bearer {file.read_text()}")
    assert mounted_secret(manifests) == secret["metadata"]["name"]


def test_a_credential_of_ones_own_is_used_everywhere(helm: Helm) -> None:
    values = {"credential": {"existingSecret": "mine"}, "metrics": {"serviceMonitor": {"enabled": True}}}
    manifests = helm.manifests(OPERATOR, values=values)
    assert not of_kind(manifests, "Secret")
    (endpoint,) = one(manifests, "ServiceMonitor")["spec"]["endpoints"]
    assert endpoint["authorization"]["credentials"] == {"name": "mine", "key": "credential"}
    assert mounted_secret(manifests) == "mine"


def mounted_secret(manifests: list[Manifest]) -> str:
    volumes = one(manifests, "Deployment")["spec"]["template"]["spec"]["volumes"]
    (name,) = [volume["secret"]["secretName"] for volume in volumes if "secret" in volume]
    return str(name)


@pytest.mark.parametrize(("replicas", "budgets"), [(1, 0), (2, 1)])
def test_a_disruption_budget_is_for_those_that_have_a_second(helm: Helm, replicas: int, budgets: int) -> None:
    assert len(of_kind(helm.manifests(OPERATOR, values={"replicas": replicas}), "PodDisruptionBudget")) == budgets


def test_everything_that_selects_its_pods_finds_them(helm: Helm) -> None:
    values = {"replicas": 2, "metrics": {"serviceMonitor": {"enabled": True}}, "podLabels": {"team": "voice"}}
    manifests = helm.manifests(OPERATOR, values=values)
    deployment, service = one(manifests, "Deployment"), one(manifests, "Service")
    labels = deployment["spec"]["template"]["metadata"]["labels"].items()
    assert labels >= deployment["spec"]["selector"]["matchLabels"].items()
    assert labels >= service["spec"]["selector"].items()
    assert labels >= one(manifests, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"].items()
    assert labels >= one(manifests, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"].items()
    monitored = one(manifests, "ServiceMonitor")["spec"]["selector"]["matchLabels"]
    assert service["metadata"]["labels"].items() >= monitored.items()


def test_it_and_the_pods_of_stacks_may_reach_each_other(helm: Helm) -> None:
    manifests = helm.manifests(OPERATOR)
    labels = one(manifests, "Deployment")["spec"]["template"]["metadata"]["labels"]
    assert labels[LABEL_NAME] == MANAGED_BY  # what the policies of stacks let in (build/policy.py)
    *_, pods = one(manifests, "NetworkPolicy")["spec"]["egress"]
    assert pods["to"][0]["podSelector"]["matchLabels"] == {LABEL_MANAGED_BY: MANAGED_BY}
    assert {port["port"] for port in pods["ports"]} == {INTERNAL_PORT, LICENSE_PORT}


def test_a_label_of_ones_own_does_not_take_its_pods_away(helm: Helm) -> None:
    manifests = helm.manifests(OPERATOR, values={"podLabels": {"app.kubernetes.io/name": "other"}})
    template = one(manifests, "Deployment")["spec"]["template"]
    assert template["metadata"]["labels"]["app.kubernetes.io/name"] == "streamstack-operator"


def test_probes_and_metrics_are_at_the_port_it_serves(helm: Helm) -> None:
    manifests = helm.manifests(OPERATOR)
    pod = container(manifests)
    ports = {port["name"]: port["containerPort"] for port in pod["ports"]}
    assert environment(manifests)["INTERNAL_PORT"] == str(ports["internal"])
    assert pod["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": "internal"}
    assert pod["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "internal"}
    assert [port["targetPort"] for port in one(manifests, "Service")["spec"]["ports"]] == ["internal"]


def test_nobody_reaches_it_but_those_who_monitor(helm: Helm) -> None:
    assert one(helm.manifests(OPERATOR), "NetworkPolicy")["spec"]["ingress"] == []
    labels = {"kubernetes.io/metadata.name": "monitoring"}
    policy = one(helm.manifests(OPERATOR, values={"networkPolicy": {"monitoring": [labels]}}), "NetworkPolicy")
    assert policy["spec"]["ingress"] == [
        {"from": [{"namespaceSelector": {"matchLabels": labels}}], "ports": [{"port": "internal"}]}
    ]
    assert not of_kind(helm.manifests(OPERATOR, "--set=networkPolicy.enabled=false"), "NetworkPolicy")


@pytest.mark.parametrize("values", [{"replicas": 2, "metrics": {"serviceMonitor": {"enabled": True}}}, NAMESPACED])
def test_with_the_longest_release_name_every_name_is_short_enough(helm: Helm, values: Values) -> None:
    manifests = helm.manifests(OPERATOR, release=LONGEST_RELEASE, values=values)
    for manifest in manifests:
        limit = 253 if "Cluster" in manifest["kind"] or manifest["kind"] == "CustomResourceDefinition" else 63
        assert len(manifest["metadata"]["name"]) <= limit
        for value in manifest["metadata"]["labels"].values():
            assert len(value) <= 63


def test_a_release_whose_name_is_a_number_is_text_everywhere(helm: Helm) -> None:
    for manifest in helm.manifests(OPERATOR, release="12", values={"namespaces": ["34"]}):
        assert manifest["metadata"]["labels"]["app.kubernetes.io/instance"] == "12"
        assert manifest["metadata"].get("namespace", "34") in {"34", "speech"}


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"replica": 2}, "additional properties 'replica' not allowed"),
        ({"replicas": 0}, "/replicas"),
        ({"namespaces": ["A"]}, "/namespaces/0"),
        ({"namespaces": ["a", "a"]}, "/namespaces"),
        ({"image": {"tag": "a b"}}, "/image/tag"),
        ({"image": {"repository": "r.example/a:tag"}}, "/image/repository"),
        ({"image": {"digest": "sha256:12"}}, "/image/digest"),
        ({"images": {"gateway": "streamstack/gateway:1"}}, "/images/gateway"),
        ({"logging": {"level": "Verbose"}}, "/logging/level"),
        ({"networkPolicy": {"monitoring": [{}]}}, "/networkPolicy/monitoring/0"),
        ({"networkPolicy": {"apiServerPorts": []}}, "/networkPolicy/apiServerPorts"),
        ({"crds": {"keep": "yes"}}, "/crds/keep"),
        ({"resources": {"limits": {"memory": None, "cpu": True}}}, "/resources/limits/cpu"),
        ({"extraEnv": [{"value": "b"}]}, "/extraEnv/0"),
    ],
)
def test_values_that_mean_nothing_are_refused_by_name(helm: Helm, values: Values, said: str) -> None:
    with pytest.raises(HelmError, match=re.escape(said)):
        helm.rendered(OPERATOR, values=values)


def test_every_value_is_in_the_schema_and_documented(helm: Helm) -> None:
    schema = yaml.safe_load((OPERATOR / "values.schema.json").read_text())
    values = yaml.safe_load((OPERATOR / "values.yaml").read_text())
    assert schema["properties"].keys() - {"global"} == values.keys()
    for name, value in values.items():
        inner = schema["properties"][name].get("properties")
        if inner:
            assert inner.keys() == value.keys(), name


def test_the_notes_say_what_an_upgrade_leaves_alone(helm: Helm) -> None:
    notes = helm.notes(OPERATOR, values={"replicas": 2, "rbac": {"create": False}})
    for line in ("get sst", "leaves StreamingStacks and their sessions running", "get lease", "rbac.create is false"):
        assert line in notes
