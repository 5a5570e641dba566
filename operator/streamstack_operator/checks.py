"""Whether a spec can be carried out, said again in Python: it may have passed an older CRD, or none.

The API server checks a spec by the CRD; here the same model is asked, and every CEL rule of it has a twin. Rules about
a change (``oldSelf``) have none: what a spec was is known to the API server alone.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from streamstack_operator.crd import NAME_NO_LABEL, NAME_TOO_LONG, STACK_NAME
from streamstack_operator.model.base import Part
from streamstack_operator.model.spec import StreamingStackSpec
from streamstack_operator.model.status import StreamingStackStatus
from streamstack_operator.names import STACK_NAME_MAX
from streamstack_operator.twins import TWINS

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
