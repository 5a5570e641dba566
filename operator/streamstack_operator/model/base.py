"""What every part of the StreamingStack's model is: camelCase outside, closed, frozen."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel


class Part(BaseModel):
    """A part of the spec or the status; unknown fields are refused by name."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True)


def rule(expression: str, message: str, *, field: str | None = None) -> dict[str, str]:
    """Return one CEL rule (``x-kubernetes-validations``, KEP-2876); ``field`` is the path the message is about."""
    return {"rule": expression, "message": message} | ({"fieldPath": field} if field else {})


def with_rules(*rules: dict[str, str], **more: Any) -> ConfigDict:
    """Return the configuration of a part whose schema carries CEL rules; ``twins.TWINS`` says the same in Python."""
    listed: list[Any] = [*rules]
    return ConfigDict(json_schema_extra={"x-kubernetes-validations": listed, **more})


DNS_LABEL = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
DNS_NAME = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
EXTENDED_RESOURCE = DNS_NAME.removesuffix("$") + "/[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$"
LABEL_VALUE = "^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$"
QUANTITY = r"^\+?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?[0-9]+))?$"
"""Kubernetes' own pattern of a quantity (apimachinery ``resource.Quantity``), without what its parser refuses all the
same (fractional exponents) and what no container may ask for (negative amounts)."""

Name = Annotated[str, Field(min_length=1, max_length=253, pattern=DNS_NAME)]
Label = Annotated[str, Field(min_length=1, max_length=63, pattern=DNS_LABEL)]
Quantity = Annotated[
    Annotated[int, Field(ge=0, strict=True)] | Annotated[str, Field(min_length=1, max_length=32, pattern=QUANTITY)],
    Field(union_mode="left_to_right"),
]
Key = Annotated[str, Field(min_length=1, max_length=317)]
"""A label's or annotation's key: prefix of up to 253, a slash, a name of up to 63."""
DataKey = Annotated[str, Field(min_length=1, max_length=253, pattern="^[-._a-zA-Z0-9]+$")]
"""A key of a Secret's data."""
LabelValue = Annotated[str, Field(max_length=63, pattern=LABEL_VALUE)]
Text = Annotated[str, Field(max_length=4096)]
Strings = Annotated[dict[Key, Text], Field(max_length=64)]
Image = Annotated[str, Field(min_length=1, max_length=512, pattern=r"^[^\s]+$")]
