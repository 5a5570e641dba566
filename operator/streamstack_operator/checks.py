"""Whether a spec can be carried out, said again in Python: it may have passed an older CRD, or none.

The API server checks a spec by the CRD; here the same model is asked, and every CEL rule of it has a twin. Rules about
a change (``oldSelf``) have none: what a spec was is known to the API server alone.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from streamstack_operator.crd import NAME_NO_LABEL, NAME_TOO_LONG, STACK_NAME
from streamstack_operator.model.base import Part
from streamstack_operator.model.gateway import Gateway
from streamstack_operator.model.ingress import ADDRESS, HOST_MESSAGE, HttpRoute, Ingress
from streamstack_operator.model.license import Authority, License
from streamstack_operator.model.pool import KNOWN_MODELS, MODELS_BY_POOL, TAKEN_FOLDERS, ModelVolume, Pool
from streamstack_operator.model.spec import StreamingStackSpec
from streamstack_operator.model.status import StreamingStackStatus
from streamstack_operator.model.workload import (
    Autoscaling,
    EnvVar,
    Resources,
    TaintEffect,
    Toleration,
    TolerationOperator,
)
from streamstack_operator.names import STACK_NAME_MAX
from streamstack_operator.quantity import amount

Path = tuple[str | int, ...]
SHOWN_CHARACTERS: Final = 80


class SpecError(ValueError):
    """A spec that cannot be carried out. ``problems``: where (in camelCase), what was found and what was expected."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = tuple(problems)


def parse_spec(raw: Mapping[str, Any]) -> StreamingStackSpec:
    """Read a StreamingStack's ``spec`` as the API has it.

    Raises:
        SpecError: a field is unknown, missing or not what the model says, or a rule is broken.

    """
    try:
        # Strict, as the API server is: a number in quotes is no number. From JSON, where that leaves words for enums.
        spec = StreamingStackSpec.model_validate_json(json.dumps(raw), strict=True, by_alias=True, by_name=False)
    except ValidationError as error:
        raise SpecError(_told(error, raw)) from error
    if problems := tuple(_broken(spec, ("spec",))):
        raise SpecError(problems)
    return spec


def name_problems(name: str) -> tuple[str, ...]:
    """Return what is wrong with a StreamingStack's name; the API server asks the same of new ones."""
    found = f"found {json.dumps(name)}"
    too_long = [f"{NAME_TOO_LONG}, {found}"] if len(name) > STACK_NAME_MAX else []
    return (*too_long, *([] if re.fullmatch(STACK_NAME, name) else [f"{NAME_NO_LABEL}, {found}"]))


def parse_status(raw: Mapping[str, Any] | None) -> StreamingStackStatus:
    """Read a StreamingStack's ``status``; what is unknown or cannot be read is left out, part by part."""
    rest: Any = deepcopy(dict(raw)) if isinstance(raw, Mapping) else {}
    while True:
        try:
            return StreamingStackStatus.model_validate(rest, by_alias=True, by_name=False)
        except ValidationError as error:
            # From the back: what is taken out of a list moves those behind it.
            for path in sorted({_found(rest, item["loc"]) for item in error.errors()}, key=_order, reverse=True):
                _take_out(rest, path)


def rules(part: type[Part]) -> tuple[Mapping[str, str], ...]:
    """Return the CEL rules of a part's schema."""
    extra = part.model_config.get("json_schema_extra")
    listed: Any = extra.get("x-kubernetes-validations", ()) if isinstance(extra, dict) else ()
    return tuple(listed)


def is_about_a_change(rule: Mapping[str, str]) -> bool:
    """Return whether a rule compares a spec with what it was."""
    return "oldSelf" in rule["rule"]


def _broken(part: Part, path: Path) -> Iterator[str]:
    for rule in rules(type(part)):
        if not is_about_a_change(rule) and not TWINS[type(part)][rule["message"]](part):
            place = rule.get("fieldPath", "")
            yield f"{_text(path)}{place}: {_found_at(part, place)}{rule['message']}"
    for name, field in type(part).model_fields.items():
        value, here = getattr(part, name), (*path, field.alias or name)
        if isinstance(value, Part):
            yield from _broken(value, here)
        elif isinstance(value, list):
            yield from _twice(value, field.json_schema_extra, here)
            for number, item in enumerate(value):
                if isinstance(item, Part):
                    yield from _broken(item, (*here, number))


def _found_at(part: Part, place: str) -> str:
    """What is there, where that is short: of a whole part or a list the rule alone says enough."""
    value: Any = part.model_dump(mode="json", by_alias=True)
    for step in place.split(".")[1:]:
        value = value[step]
    if not place or isinstance(value, list):
        return ""
    return "found nothing, " if value is None else f"found {_shown(value)}, "


def _twice(items: Sequence[Any], extra: Any, path: Path) -> Iterator[str]:
    """Items of a list that Kubernetes knows by a key (KEP-555): every key once."""
    if not isinstance(extra, dict) or "x-kubernetes-list-map-keys" not in extra:
        return
    (key,) = extra["x-kubernetes-list-map-keys"]
    seen: set[str] = set()
    for number, item in enumerate(items):
        name = getattr(item, key)
        if name in seen:
            yield f"{_text((*path, number, key))}: found {json.dumps(name)} twice, expected every {key} once"
        seen.add(name)


def _told(error: ValidationError, raw: Mapping[str, Any]) -> tuple[str, ...]:
    """One line a place; a value that may be of two kinds is said to be neither in one."""
    expected: dict[str, list[str]] = {}
    for item in error.errors():
        path = _found(raw, item["loc"])
        missing = item["type"] == "missing"
        where = _text(("spec", *path, *(item["loc"][-1:] if missing else ())))
        found = "" if missing or not path else f"found {_shown(item['input'])}, "
        told = expected.setdefault(f"{where}: {found}", [])
        if (said := _said(item)) not in told:
            told.append(said)
    return tuple(place + " or ".join(said).replace(" or expected", " or") for place, said in expected.items())


def _said(item: ErrorDetails) -> str:
    match item["type"]:
        case "missing":
            return "required, found nothing"
        case "extra_forbidden":
            return "expected no field of this name"
        case _:
            subject, _, wanted = item["msg"].partition(" should ")
            return f"expected {wanted.removeprefix('be ') if subject == 'Input' else f'{subject.lower()} to {wanted}'}"


def _found(raw: Any, where: Path) -> Path:
    """The part of an error's place that is there: pydantic adds choices tried, keys judged and fields missed."""
    found: Path = ()
    for step in where:
        inside = step in raw if isinstance(raw, Mapping) else isinstance(raw, list) and step in range(len(raw))
        if not inside:
            break
        raw = raw[step]
        found = (*found, step)
    return found


def _take_out(raw: Any, path: Path) -> None:
    """Remove what is at ``path``; an enclosing part that is gone already took it along."""
    for step in path[:-1]:
        raw = raw[step]
    del raw[path[-1]]


def _order(path: Path) -> tuple[tuple[bool, str | int], ...]:
    return tuple((isinstance(step, int), step) for step in path)


def _text(path: Path) -> str:
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).removeprefix(".")


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[: SHOWN_CHARACTERS - 3]}..."


def _requests_fit(part: Resources) -> bool:
    return all(amount(part.requests[name]) <= amount(part.limits[name]) for name in part.requests.keys() & part.limits)


def _buffers_fit(part: Gateway) -> bool:
    memory = part.resources.limits.get("memory")
    return memory is None or amount(memory) > part.limits.buffer_megabytes * 2**20


def _is_address(host: str) -> bool:
    return re.fullmatch(ADDRESS, host) is not None


def _routing_name(pool: Pool) -> str:
    """As ``Pool.routing_name``, also of a pool without one: that is another rule's to say."""
    return pool.model or MODELS_BY_POOL.get(pool.name, pool.name)


def _differ(names: Sequence[str]) -> bool:
    return len(set(names)) == len(names)


def _known(spec: StreamingStackSpec) -> set[str]:
    return KNOWN_MODELS.keys() | {pool.model for pool in spec.pools if pool.model}


def _aliases_lead_somewhere(spec: StreamingStackSpec) -> bool:
    return _known(spec).issuperset(spec.gateway.model_aliases.values())


def _fallbacks_lead_somewhere(spec: StreamingStackSpec) -> bool:
    known, fallbacks = _known(spec), spec.gateway.model_fallbacks
    return (known | {"*"}).issuperset(fallbacks) and (known | {"default"}).issuperset(fallbacks.values())


def _default_has_a_pool(spec: StreamingStackSpec) -> bool:
    default = spec.gateway.model_default
    routed = {KNOWN_MODELS.get(name, name) for name in map(_routing_name, spec.pools)}
    return default is None or KNOWN_MODELS.get(default, default) in routed


TWINS: Final[Mapping[type[Part], Mapping[str, Callable[[Any], bool]]]] = {
    Resources: {"requests must not be above limits": _requests_fit},
    Toleration: {
        "value must be left out with Exists": lambda it: it.operator is TolerationOperator.EQUAL or it.value is None,
        "key is required with Equal": lambda it: it.operator is TolerationOperator.EXISTS or it.key is not None,
        "tolerationSeconds needs the effect NoExecute": lambda it: (
            it.toleration_seconds is None or it.effect is TaintEffect.NO_EXECUTE
        ),
    },
    EnvVar: {
        "expected exactly one of value and secretKeyRef": lambda it: (it.value is None) != (it.secret_key_ref is None)
    },
    Autoscaling: {"minReplicas must not be above maxReplicas": lambda it: it.min_replicas <= it.max_replicas},
    Gateway: {
        "limits.maxSessions must not be below capacity": lambda it: (
            it.limits.max_sessions is None or it.limits.max_sessions >= it.capacity
        ),
        "limits.maxConnections must not be below capacity": lambda it: it.limits.max_connections >= it.capacity,
        "limits.bufferMegabytes must be below the memory limit: a pod that fills its buffers would be killed": (
            _buffers_fit
        ),
    },
    Authority: {
        "an endpoint without TLS needs insecure: true": lambda it: (
            it.endpoint is None or not it.endpoint.startswith("http://") or it.insecure
        ),
    },
    License: {
        "storageClassName must be left out with ephemeral: there is no claim": lambda it: (
            not it.ephemeral or it.storage_class_name is None
        ),
    },
    ModelVolume: {
        "expected another folder than /tmp and /run/streamstack, which the pods have themselves": lambda it: (
            re.fullmatch(TAKEN_FOLDERS, it.mount_path) is None
        ),
        "subPath must not contain '..'": lambda it: it.sub_path is None or ".." not in it.sub_path.split("/"),
    },
    Pool: {
        "model is required for a pool that is not named english, multilingual or pro": lambda it: (
            it.model is not None or it.name in MODELS_BY_POOL
        ),
        "lb is the balancer's name: expected another": lambda it: it.name != "lb",
    },
    Ingress: {HOST_MESSAGE: lambda it: not _is_address(it.host)},
    HttpRoute: {HOST_MESSAGE: lambda it: not any(map(_is_address, it.hostnames))},
    StreamingStackSpec: {
        "pool names must differ": lambda it: _differ([pool.name for pool in it.pools]),
        "models of pools must differ: of two pools with one model the gateways would know one": lambda it: _differ(
            [_routing_name(pool) for pool in it.pools]
        ),
        "expected every alias to name a model that a pool or the gateways themselves know": _aliases_lead_somewhere,
        "expected every fallback to lead from a model that is known, or *, to one that is known, or default": (
            _fallbacks_lead_somewhere
        ),
        "expected the default to be the model of a pool": _default_has_a_pool,
    },
}
"""The rules of each part, by their messages."""
