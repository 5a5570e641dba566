"""charts/streamstack, rendered without a cluster."""

import base64
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from streamstack_operator.checks import parse_spec
from support.golden import assert_golden
from support.helm import STACK, Helm, HelmError, Manifest, Values, of_kind, one

ROOT = STACK.parents[1]
GOLDEN = Path(__file__).parent / "golden"
EXAMPLES = sorted(STACK.glob("values-*.yaml"))
A_LICENSE = "--set=license.secretName=license"
JWT = "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiJ0ZXN0In0.c2lnbmF0dXJl"
JWKS = json.dumps({"keys": []})
CERTIFICATE = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
KEY = "-----BEGIN EC PRIVATE KEY-----\nMHcC\n-----END EC PRIVATE KEY-----\n"
API_KEY = "a-key-of-the-customer"
POOLS = [{"name": "english"}]
SMALLEST: Values = {"license": {"secretName": "license"}, "pools": POOLS}
ALL_GIVEN: Values = {
    "license": {"jwt": f"{JWT}\n", "extraKeys": JWKS, "usageApiKey": f"{API_KEY}\n"},
    "pools": POOLS,
    "gateway": {"tls": {"crt": CERTIFICATE, "key": KEY}},
    "ingress": {"host": "speech.example.com", "tls": {"crt": CERTIFICATE, "key": KEY}},
}


def spec_of(manifests: list[Manifest]) -> dict[str, Any]:
    return dict(one(manifests, "StreamingStack")["spec"])


def decoded(secret: Manifest) -> dict[str, str]:
    return {name: base64.b64decode(value).decode() for name, value in secret["data"].items()}


def definition_of_spec() -> dict[str, Any]:
    (version,) = yaml.safe_load((ROOT / "crds/streamingstacks.yaml").read_text())["spec"]["versions"]
    return dict(version["schema"]["openAPIV3Schema"]["properties"]["spec"])


def uncommented() -> dict[str, Any]:
    """values.yaml with its defaults in force: `# ` taken away, `## ` is prose."""
    text = (STACK / "values.yaml").read_text()
    lines = [re.sub(r"^(\s*)# ", r"\1", line) for line in text.splitlines() if line != "pools: []"]
    return dict(yaml.safe_load("\n".join(lines)))


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_an_example_renders_what_was_looked_at(helm: Helm, file: Path) -> None:
    rendered = helm.rendered(STACK, f"--values={file}", A_LICENSE)
    assert_golden(rendered, GOLDEN / f"stack-{file.stem.removeprefix('values-')}.yaml")


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_helm_lint_finds_nothing(helm: Helm, file: Path) -> None:
    helm("lint", "--strict", STACK, f"--values={file}", A_LICENSE)


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_the_operator_accepts_an_example(helm: Helm, file: Path) -> None:
    parse_spec(spec_of(helm.manifests(STACK, f"--values={file}", A_LICENSE)))


@pytest.mark.parametrize("file", sorted((ROOT / "examples").glob("*.yaml")), ids=lambda file: file.stem)
def test_any_spec_can_be_given_as_values_and_comes_out_as_it_went_in(helm: Helm, file: Path) -> None:
    spec = one(list(yaml.safe_load_all(file.read_text())), "StreamingStack")["spec"]
    assert spec_of(helm.manifests(STACK, values=spec)) == spec


def test_nothing_but_what_was_given_reaches_the_stack(helm: Helm) -> None:
    (stack,) = helm.manifests(STACK, values=SMALLEST)
    assert stack["spec"] == SMALLEST
    assert stack["metadata"]["name"] == "demo"


def test_it_makes_one_stack_and_its_secrets_and_no_workload(helm: Helm) -> None:
    manifests = helm.manifests(STACK, values=ALL_GIVEN)
    assert sorted(manifest["kind"] for manifest in manifests) == ["Secret"] * 3 + ["StreamingStack"]
    assert all(manifest["metadata"]["namespace"] == "speech" for manifest in manifests)
    parse_spec(spec_of(manifests))


def test_numbers_come_out_as_they_went_in(helm: Helm) -> None:
    values = SMALLEST | {"credential": {"rotateAfterSeconds": 315_360_000}, "maxSessionSeconds": 10_800}
    spec = spec_of(helm.manifests(STACK, values=values))
    assert (spec["credential"]["rotateAfterSeconds"], spec["maxSessionSeconds"]) == (315_360_000, 10_800)


def test_a_license_from_a_file_is_put_where_the_stack_looks_for_it(helm: Helm, tmp_path: Path) -> None:
    (tmp_path / "license.jwt").write_text(f"{JWT}\n")
    (tmp_path / "keys.json").write_text(JWKS)
    manifests = helm.manifests(
        STACK,
        f"--set-file=license.jwt={tmp_path}/license.jwt,license.extraKeys={tmp_path}/keys.json",
        values={"pools": POOLS, "license": {"replicas": 2}},
    )
    license_ = spec_of(manifests)["license"]
    secret = decoded(one(manifests, "Secret", license_["secretName"]))
    assert (secret[license_["key"]], secret[license_["extraKeysKey"]]) == (JWT, JWKS)
    assert license_["replicas"] == 2
    assert "usageApiKeyKey" not in license_


def test_an_api_key_for_usage_is_put_beside_the_license(helm: Helm) -> None:
    manifests = helm.manifests(STACK, values=ALL_GIVEN)
    license_ = spec_of(manifests)["license"]
    secret = decoded(one(manifests, "Secret", license_["secretName"]))
    assert secret[license_["usageApiKeyKey"]] == API_KEY
    assert "usageApiKey" not in license_


def test_what_leads_to_the_authority_reaches_the_stack_as_it_is_given(helm: Helm) -> None:
    given = {"secretName": "license", "usageApiKeyKey": "usage", "ephemeral": True, "selfTerminateMinutes": 20}
    authority = {"endpoint": "https://authority.example", "caSecretName": "ca", "clientCertificateSecretName": None}
    manifests = helm.manifests(STACK, values={"pools": POOLS, "license": given | {"authority": authority}})
    wanted = {"endpoint": "https://authority.example", "caSecretName": "ca"}
    assert spec_of(manifests)["license"] == given | {"authority": wanted}


@pytest.mark.parametrize("where", ["gateway", "ingress"])
def test_a_certificate_from_files_is_put_where_the_stack_looks_for_it(helm: Helm, where: str) -> None:
    manifests = helm.manifests(STACK, values=ALL_GIVEN)
    (name,) = spec_of(manifests)[where]["tls"].values()
    secret = one(manifests, "Secret", name)
    assert (secret["type"], decoded(secret)) == ("kubernetes.io/tls", {"tls.crt": CERTIFICATE, "tls.key": KEY})


@pytest.mark.parametrize(("on_delete", "kept"), [(True, True), (False, False)])
def test_secrets_stay_while_sessions_drain(helm: Helm, on_delete: bool, kept: bool) -> None:
    manifests = helm.manifests(STACK, values=ALL_GIVEN | {"drain": {"onDelete": on_delete}})
    for secret in of_kind(manifests, "Secret"):
        policy = secret["metadata"].get("annotations", {}).get("helm.sh/resource-policy")
        assert (policy == "keep") is kept
    assert "annotations" not in one(manifests, "StreamingStack")["metadata"]


def test_labels_and_annotations_of_ones_own_are_the_stacks(helm: Helm) -> None:
    paused = {"streamstack.dev/reconcile": "disabled"}
    values = SMALLEST | {"name": "other", "labels": {"team": "voice"}, "annotations": paused}
    metadata = one(helm.manifests(STACK, values=values), "StreamingStack")["metadata"]
    assert metadata["annotations"] == paused
    assert metadata["labels"].items() >= {"team": "voice", "app.kubernetes.io/instance": "other"}.items()


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"pools": POOLS}, "license: none given"),
        ({"pools": POOLS, "license": {"jwt": JWT, "secretName": "a"}}, "both license.jwt and license.secretName"),
        ({"pools": POOLS, "license": {"jwt": "license.jwt"}}, "not a signed license"),
        ({"pools": POOLS, "license": {"jwt": JWT, "extraKeys": "keys.json"}}, "not a JWKS"),
        ({"pools": POOLS, "license": {"jwt": JWT, "key": "a"}}, "they name keys of license.secretName"),
        ({"pools": POOLS, "license": {"secretName": "a", "extraKeys": JWKS}}, "goes with license.jwt"),
        ({"pools": POOLS, "license": {"secretName": "a", "usageApiKey": API_KEY}}, "license.usageApiKey: goes with"),
        ({"pools": POOLS, "license": {"jwt": JWT, "usageApiKey": "my key.txt"}}, "license.usageApiKey: not an API key"),
        ({"pools": POOLS, "license": {"jwt": JWT, "usageApiKeyKey": "a"}}, "they name keys of license.secretName"),
        ({"license": {"secretName": "a"}}, "pools: none given"),
        ({"pools": [*POOLS, *POOLS]}, 'two are named "english"'),
        ({"pools": [{"name": "dutch"}]}, '"dutch" has no model'),
        ({"ingress": {"className": "traefik"}}, "ingress.host: none given"),
        ({"ingress": {"host": "a", "tls": {"crt": CERTIFICATE}}}, "ingress.tls: a certificate without its key"),
        ({"gateway": {"tls": {"key": KEY}}}, "gateway.tls: a key without its certificate"),
        (
            {"gateway": {"tls": {"crt": CERTIFICATE, "key": KEY, "secretName": "a"}}},
            "both a certificate and secretName",
        ),
        ({"gateway": {"tls": {}}}, "gateway.tls: empty"),
        ({"ingress": {"host": "a", "tls": {"crt": "tls.crt", "key": KEY}}}, "ingress.tls.crt: not a PEM certificate"),
        ({"ingress": {"host": "a", "tls": {"crt": CERTIFICATE, "key": CERTIFICATE}}}, "not a PEM private key"),
        ({"name": "s" * 31}, "has 31 characters, expected at most 30"),
        ({"name": "1st"}, 'found "1st"'),
        ({"name": "a.b"}, 'found "a.b"'),
    ],
)
def test_values_that_make_no_stack_are_refused_with_what_to_do(helm: Helm, values: Values, said: str) -> None:
    with pytest.raises(HelmError, match=re.escape(said)):
        helm.rendered(STACK, values=values if "pools" in values or "license" in values else SMALLEST | values)


def test_all_that_is_wrong_is_said_at_once(helm: Helm) -> None:
    with pytest.raises(HelmError) as refusal:
        helm.rendered(STACK, release="s" * 31, values={"ingress": {"className": "traefik"}})
    problems = [line[2:].partition(":")[0] for line in str(refusal.value).splitlines() if line.startswith("- ")]
    assert problems == ["name", "license", "pools", "ingress.host"]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"gateways": {}}, "additional properties 'gateways' not allowed"),
        ({"gateway": {"replicas": 0}}, "/gateway/replicas"),
        ({"gateway": {"resources": {"limits": {"memory": True}}}}, "/gateway/resources/limits/memory"),
        ({"pools": [{"name": "english", "engine": "Whisper"}]}, "/pools/0/engine"),
        ({"pools": [{"engine": "Sphinx"}]}, "/pools/0"),
        ({"pools": [{"name": "english", "gpus": 1}]}, "additional properties 'gpus' not allowed"),
        ({"ingress": {"host": "a", "profile": "Nginx"}}, "/ingress/profile"),
        ({"drain": {"onDelete": "yes"}}, "/drain/onDelete"),
        ({"httpRoute": {"hostnames": ["a"]}}, "missing property 'parentRefs'"),
        ({"license": {"token": "a"}}, "additional properties 'token' not allowed"),
    ],
)
def test_values_that_are_no_fields_of_a_spec_are_refused_by_name(helm: Helm, values: Values, said: str) -> None:
    with pytest.raises(HelmError, match=re.escape(said)):
        helm.rendered(STACK, values={**SMALLEST, **values})


def test_values_yaml_documents_every_field_with_its_default() -> None:
    documented = uncommented()
    assert documented.pop("name") == ""
    assert (documented.pop("labels"), documented.pop("annotations")) == ({}, {})
    for name in "jwt", "extraKeys", "usageApiKey":
        assert documented["license"].pop(name) == ""
    documented["license"]["secretName"] = None
    (pool,) = documented["pools"]
    assert pool.pop("name") == "english"
    pool["name"] = None
    assert sorted(differences(definition_of_spec(), documented, "spec")) == []


def differences(schema: Values, documented: Any, path: str) -> Iterator[str]:
    """Fields that are not there, and values that are not what the API server fills in."""
    for name, field in schema["properties"].items():
        here = f"{path}.{name}"
        if name not in documented:
            yield f"{here}: not in values.yaml"
            continue
        value = documented[name]
        default = filled_in(field, field.get("default"))
        if isinstance(value, dict) and default is None and "properties" in field:
            yield from differences(field, value, here)
        elif name == "pools":
            yield from differences(field["items"], value[0], f"{here}[]")
        elif without_nulls(value) != default:
            yield f"{here}: {value} in values.yaml, {default} in the definition"
    yield from (f"{path}.{name}: in values.yaml alone" for name in documented.keys() - schema["properties"].keys())


def filled_in(schema: Values, value: Any) -> Any:
    """Defaulting of structural schemas: an object that is there gets its fields' defaults."""
    if isinstance(value, dict) and "properties" in schema:
        fields = {
            name: filled_in(field, value.get(name, field.get("default")))
            for name, field in schema["properties"].items()
        }
        return {name: field for name, field in fields.items() if field is not None}
    if isinstance(value, list):
        return [filled_in(schema["items"], item) for item in value]
    return value


def without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: without_nulls(item) for name, item in value.items() if item is not None}
    return [without_nulls(item) for item in value] if isinstance(value, list) else value


def test_every_default_may_be_given_as_a_value(helm: Helm) -> None:
    values = uncommented() | {"license": {"secretName": "a"}, "ingress": {"host": "a"}}
    parse_spec(spec_of(helm.manifests(STACK, values=values)))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({}, "port-forward service/demo-gateway 8080:ws"),
        ({"gateway": {"tls": {"secretName": "a"}}}, "--endpoint wss://127.0.0.1:8080"),
        ({"ingress": {"host": "a.example"}}, "ws://a.example/v3/ws"),
        ({"ingress": {"host": "a.example"}}, "has no certificate"),
        ({"ingress": {"host": "a.example", "tls": {"secretName": "a"}}}, "wss://a.example/v3/ws"),
        ({"httpRoute": {"hostnames": ["b.example"], "parentRefs": [{"name": "g"}]}}, "wss://b.example/v3/ws"),
        ({"ingress": {"host": "a", "className": "traefik-internal"}}, "transport.lifeCycle.graceTimeOut=10800s"),
        ({"ingress": {"host": "a", "profile": "Traefik"}}, "terminationGracePeriodSeconds: 11100"),
        ({"ingress": {"host": "a", "className": "nginx"}}, "worker-shutdown-timeout: 11100s"),
        ({"ingress": {"host": "a", "profile": "HAProxyIngress"}, "maxSessionSeconds": 60}, "timeout-stop: 360s"),
        ({"ingress": {"host": "a", "className": "haproxy"}}, "hard-stop-after: 11100s"),
        ({"ingress": {"host": "a", "className": "traefik"}}, "--set ingress.profile=Traefik"),
        ({"ingress": {"host": "a"}}, "docs/kubernetes.md"),
        ({}, "WARNING: `helm uninstall demo` ends every live session at once"),
        ({"drain": {"onDelete": True}}, "lets live sessions finish"),
    ],
)
def test_the_notes_say_what_to_do_next(helm: Helm, values: Values, said: str) -> None:
    assert said in helm.notes(STACK, values={**SMALLEST, **values})


def test_the_notes_say_which_secrets_stay_and_how_to_remove_them(helm: Helm) -> None:
    draining = {"drain": {"onDelete": True}}
    assert "delete secret" in helm.notes(STACK, values={**ALL_GIVEN, **draining})
    assert "delete secret" not in helm.notes(STACK, values={**SMALLEST, **draining})


def test_the_notes_reckon_with_the_definitions_defaults() -> None:
    fields = definition_of_spec()["properties"]
    margin = filled_in(fields["drain"], fields["drain"]["default"])["marginSeconds"]
    assert (fields["maxSessionSeconds"]["default"], margin) == (10_800, 300)
