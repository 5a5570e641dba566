"""The definition that is made of the model: what a real API server makes of it is in test_admission.py."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from streamstack_operator.checks import is_about_a_change
from streamstack_operator.crd import as_yaml, crd, schema
from streamstack_operator.names import Reason

ROOT = Path(__file__).resolve().parents[2]
TOOL = ROOT / "hack/crd"


def nodes(node: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every schema below ``node``, with its path."""
    yield path, node
    for name, child in node.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}")
    for name in ("items", "additionalProperties"):
        if name in node:
            yield from nodes(node[name], f"{path}[]")


def rules(node: dict[str, Any]) -> list[dict[str, str]]:
    return node.get("x-kubernetes-validations", [])


SPEC = dict(nodes(schema()["properties"]["spec"], "spec"))
STATUS = dict(nodes(schema()["properties"]["status"], "status"))
FIELDS = {path: node for path, node in (SPEC | STATUS).items() if not path.endswith("[]")}


def test_every_field_is_described_by_a_sentence_for_people():
    told = {path: node.get("description", "") for path, node in FIELDS.items()}
    assert {path: it for path, it in told.items() if not re.fullmatch(r"[^a-z].*\.", it)} == {}
    assert {path: it for path, it in told.items() if "reference/" in it or "``" in it} == {}


def test_a_default_is_told_where_it_is_no_empty_thing():
    assert FIELDS["spec.gateway.replicas"]["description"] == "Pods of the active revision. Defaults to 2."
    assert '{"requests": {"cpu": "4",' in FIELDS["spec.pools"]["items"]["properties"]["resources"]["description"]
    assert "Defaults" not in FIELDS["spec.gateway.limits"]["description"]
    assert "Defaults" not in FIELDS["spec.gateway.env"]["description"]


def bound(node: dict[str, Any]) -> str | None:
    if node.get("x-kubernetes-int-or-string"):
        return "maxLength"
    if "additionalProperties" in node:
        return "maxProperties"
    return None if "enum" in node else {"string": "maxLength", "array": "maxItems"}.get(node["type"])


def test_everything_that_can_grow_has_a_bound_so_that_the_cost_of_rules_can_be_estimated():
    assert [path for path, node in SPEC.items() if bound(node) not in {*node, None}] == []


def test_a_rule_names_a_field_that_there_is():
    named = [f"{path}{rule.get('fieldPath', '')}" for path, node in SPEC.items() for rule in rules(node)]
    assert named
    assert set(named) <= SPEC.keys()


def test_what_cannot_change_after_it_was_made_says_so():
    about_changes = [rule for node in SPEC.values() for rule in rules(node) if is_about_a_change(rule)]
    assert {rule["fieldPath"] for rule in about_changes} == {".storage", ".storageClassName", ".ephemeral"}
    assert all("cannot change" in rule["message"] for rule in about_changes)


def test_the_server_fills_in_a_spec_and_no_status():
    assert SPEC["spec.gateway"]["default"]["resources"]["requests"] == {"cpu": "1", "memory": "2Gi"}
    assert [path for path, node in STATUS.items() if "default" in node] == []


def test_no_default_holds_a_null():
    assert [path for path, node in SPEC.items() if "null" in as_yaml(node.get("default", {}))] == []


@pytest.mark.parametrize("column", crd()["spec"]["versions"][0]["additionalPrinterColumns"], ids=lambda it: it["name"])
def test_a_column_shows_a_field_that_there_is(column):
    path = column["jsonPath"].removeprefix(".").replace('[?(@.type=="Ready")]', "[]")
    assert path == "metadata.creationTimestamp" or path in STATUS


def test_what_is_committed_is_what_the_model_says():
    done = subprocess.run([sys.executable, TOOL, "check"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_definition_is_the_first_thing_that_its_file_holds():
    assert yaml.safe_load((ROOT / "crds/streamingstacks.yaml").read_text()) == crd()


@pytest.mark.parametrize("file", ["crds/streamingstacks.yaml", "docs/streamingstack.md"])
def test_what_is_edited_by_hand_is_found_stale(tmp_path, file):
    for folder in ("hack", "crds", "docs"):
        (tmp_path / folder).mkdir()
    tool = shutil.copy(TOOL, tmp_path / "hack/crd")
    subprocess.run([sys.executable, tool, "write"], check=True)
    with (tmp_path / file).open("a") as edited:
        edited.write("# mine\n")
    done = subprocess.run([sys.executable, tool, "check"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, f"{file} is not what the operator's model says: run hack/crd write\n")


def test_every_reason_is_in_the_documentation_with_what_to_do():
    told = (ROOT / "docs/streamingstack.md").read_text()
    assert [reason for reason in Reason if f"\n| `{reason}` | " not in told] == []
