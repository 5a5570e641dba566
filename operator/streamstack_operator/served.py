"""Whether the cluster's CustomResourceDefinition is older than this operator: which of our fields it does not know.

Helm leaves definitions alone on an upgrade, and an API server drops fields that it does not know without a word: what
somebody asked for would never arrive, and what the operator reports would never be read.
"""

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from streamstack_operator.crd import schema
from streamstack_operator.names import GROUP, KIND, VERSION

WHOLE_PARTS = ("spec", "status")


def missing_fields(served_openapi: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the paths of our fields that the API server does not know; of a missing part its own path alone.

    ``served_openapi`` is the answer of ``/openapi/v3/apis/streamstack.dev/v1alpha1``.
    """
    served, ours = _served(served_openapi), _ours()
    return tuple(
        path for part in WHOLE_PARTS for path in _missing(ours["properties"][part], _fields(served).get(part), part)
    )


def _missing(ours: Mapping[str, Any], served: Mapping[str, Any] | None, path: str) -> Iterator[str]:
    if served is None:
        yield path
        return
    if served.get("x-kubernetes-preserve-unknown-fields"):
        return
    for name, child in _fields(ours).items():
        yield from _missing(child, _fields(served).get(name), f"{path}.{name}")
    if "items" in ours:
        yield from _missing(ours["items"], served.get("items", {}), f"{path}[]")


def _fields(node: Mapping[str, Any]) -> Mapping[str, Any]:
    fields: Mapping[str, Any] = node.get("properties", {})
    return fields


def _served(openapi: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema of our kind; its name in the document is the server's choice, its kind is ours."""
    ours = {"group": GROUP, "kind": KIND, "version": VERSION}
    schemas: Mapping[str, Mapping[str, Any]] = openapi.get("components", {}).get("schemas", {})
    return next((it for it in schemas.values() if ours in it.get("x-kubernetes-group-version-kind", ())), {})


@cache
def _ours() -> Mapping[str, Any]:
    return schema()
