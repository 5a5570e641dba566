"""The CustomResourceDefinition of a StreamingStack, made from the model: ``python -m streamstack_operator.crd``.

The API server refuses what pydantic writes (numeric ``exclusiveMinimum``, references, ``null`` as a type) and wants a
structural schema (KEP-1979): what it takes is made here, and a test shows a real one.
"""

import json
import sys
from collections.abc import Mapping
from typing import Any, Final

import yaml
from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import core_schema

from streamstack_operator.model.base import rule
from streamstack_operator.model.spec import StreamingStackSpec
from streamstack_operator.model.status import StreamingStackStatus
from streamstack_operator.names import GROUP, KIND, PLURAL, PRODUCT, SHORT_NAME, STACK_NAME_MAX, VERSION

Schema = dict[str, Any]

KEPT: Final = (
    "type", "format", "enum", "pattern", "minLength", "maxLength", "minimum", "maximum", "minItems", "maxItems",
    "maxProperties", "required", "default", "x-kubernetes-list-type", "x-kubernetes-list-map-keys",
    "x-kubernetes-validations",
)  # fmt: skip
"""What a schema says in both worlds; all else is either turned into something else or says nothing to the server."""

STACK_NAME: Final = "^[a-z]([-a-z0-9]*[a-z0-9])?$"
NAME_TOO_LONG: Final = (
    f"metadata.name must have at most {STACK_NAME_MAX} characters, for names of children begin with it: choose another"
)
NAME_NO_LABEL: Final = (
    "metadata.name must begin with a letter and hold only lower-case letters, digits and '-', for Services begin with "
    "it: choose another"
)
ROOT_RULES: Final = (
    rule(f"self.metadata.name.size() <= {STACK_NAME_MAX}", NAME_TOO_LONG, field=".metadata.name"),
    rule(f"self.metadata.name.matches('{STACK_NAME}')", NAME_NO_LABEL, field=".metadata.name"),
)


def crd() -> Schema:
    """Return the definition as ``kubectl apply --server-side`` takes it."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{PLURAL}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": KIND,
                "listKind": f"{KIND}List",
                "plural": PLURAL,
                "singular": KIND.lower(),
                "shortNames": [SHORT_NAME],
                "categories": [PRODUCT],
            },
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": _columns(),
                    "schema": {"openAPIV3Schema": schema()},
                }
            ],
        },
    }


def schema() -> Schema:
    """Return the structural schema of a StreamingStack."""
    return {
        "type": "object",
        "description": "Self-hosted streaming speech-to-text: WebSocket gateways, pools of speech recognition and a "
        "license proxy.",
        "required": ["spec"],
        "x-kubernetes-validations": list(ROOT_RULES),
        "properties": {
            "apiVersion": {"type": "string", "description": f"{GROUP}/{VERSION}."},
            "kind": {"type": "string", "description": f"{KIND}."},
            "metadata": {"type": "object", "properties": {"name": {"type": "string"}}},
            "spec": _Structural(json_schema(StreamingStackSpec)).root(),
            "status": _Structural(json_schema(StreamingStackStatus), defaults=False).root(),
        },
    }


def json_schema(model: type[BaseModel]) -> Schema:
    """Return a model's JSON schema in camelCase, with the defaults that factories make."""
    return model.model_json_schema(by_alias=True, schema_generator=_WithDefaults)


class _WithDefaults(GenerateJsonSchema):
    """Pydantic leaves out what a factory makes; the API server can only apply what it is told."""

    def get_default_value(self, schema: core_schema.WithDefaultSchema) -> Any:
        factory: Any = schema.get("default_factory")
        return factory() if factory else super().get_default_value(schema)

    def encode_default(self, dft: Any) -> Any:
        return _without_nulls(super().encode_default(dft))


class _Structural:
    """Turns JSON schema into what Kubernetes takes.

    Without ``defaults`` the server fills in nothing: a status says what somebody has written.
    """

    def __init__(self, source: Schema, *, defaults: bool = True) -> None:
        self._source = source
        self._parts: Mapping[str, Schema] = source.get("$defs", {})
        self._defaults = defaults

    def root(self) -> Schema:
        return self._made(self._source)

    def _made(self, node: Schema) -> Schema:
        node = self._resolved(node)
        made: Schema = {key: node[key] for key in KEPT if key in node and (self._defaults or key != "default")}
        if made.get("default", ...) is None:
            del made["default"]
        if node.get("x-kubernetes-int-or-string"):
            made.pop("type", None)
            made["x-kubernetes-int-or-string"] = True
        if "properties" in node:
            made["properties"] = {name: self._made(child) for name, child in node["properties"].items()}
        if "items" in node:
            made["items"] = self._made(node["items"])
        if values := _values(node):
            made["additionalProperties"] = self._made(values)
        return self._described(made, node.get("description"))

    def _resolved(self, node: Schema) -> Schema:
        """The node with what it refers to; ``X | None`` is X, ``int | str`` what Kubernetes calls int-or-string."""
        if "$ref" in node:
            part = self._parts[node["$ref"].rpartition("/")[2]]
            return self._resolved({**part, **{key: value for key, value in node.items() if key != "$ref"}})
        if "anyOf" not in node:
            return node
        around = {key: value for key, value in node.items() if key != "anyOf"}
        choices = [self._resolved(choice) for choice in node["anyOf"] if choice.get("type") != "null"]
        merged = {key: value for choice in choices for key, value in choice.items()} | around
        if len(choices) == 1:
            return merged
        if {choice.get("type") for choice in choices} != {"integer", "string"}:
            raise TypeError(f"a structural schema knows no choice but int-or-string, found {json.dumps(node['anyOf'])}")
        return merged | {"x-kubernetes-int-or-string": True}

    def _described(self, made: Schema, text: str | None) -> Schema:
        if text is None:
            return made
        text = _sentence(text)
        default = made.get("default")
        if default not in (None, "", [], {}) and default != _filled(made):
            text += f" Defaults to {default if isinstance(default, str) else json.dumps(default)}."
        return {**made, "description": text}


def _values(node: Schema) -> Schema | None:
    """What a map's values are: of any key, or of keys by pattern, which Kubernetes does not know."""
    patterns: dict[str, Schema] = node.get("patternProperties", {})
    values = next(iter(patterns.values()), node.get("additionalProperties"))
    return values if isinstance(values, dict) else None


def _filled(made: Schema) -> Schema | None:
    """What the server makes of an empty object: a default that says no more is not worth a word."""
    if "properties" not in made:
        return None
    return {name: child["default"] for name, child in made["properties"].items() if "default" in child}


def _sentence(text: str) -> str:
    text = " ".join(text.replace("``", "`").split())
    return text[0].upper() + text[1:] + ("" if text.endswith(".") else ".")


def _without_nulls(value: Any) -> Any:
    """A default without what is not given: the server prunes nulls before it applies defaults, so none may be there."""
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value


def _columns() -> list[Schema]:
    """What `kubectl get sst` shows; the text that may be long comes last."""
    return [
        _column("Ready", '.status.conditions[?(@.type=="Ready")].status', "Whether new sessions can start."),
        _column("Gateway", ".status.gateway.ready", "Gateway pods ready and wanted."),
        _column("ASR", ".status.asrReady", "ASR pods ready and wanted, of all pools."),
        _column("Sessions", ".status.gateway.sessions", "Live sessions.", kind="integer"),
        _column("License", ".status.license.state", "What the license proxy says."),
        _column("Revision", ".status.gateway.activeRevision", "The gateways' revision that new sessions go to."),
        _column("Version", ".status.version", "The operator that wrote the status.", priority=1),
        _column("Age", ".metadata.creationTimestamp", "When it was made.", kind="date"),
        _column("Summary", ".status.summary", "What runs, or why not."),
    ]


def _column(name: str, path: str, description: str, *, kind: str = "string", priority: int = 0) -> Schema:
    column = {"name": name, "type": kind, "jsonPath": path, "description": description}
    return column | ({"priority": priority} if priority else {})


def as_yaml(definition: Schema) -> str:
    """Return a definition as text, in the order it has."""
    return yaml.safe_dump(definition, sort_keys=False, width=120, allow_unicode=True)


if __name__ == "__main__":
    sys.stdout.write(as_yaml(crd()))
