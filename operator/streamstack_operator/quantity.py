"""What a Kubernetes quantity amounts to (apimachinery ``resource.Quantity``)."""

import re
from decimal import Decimal
from typing import Final

FACTORS: Final = {
    **{suffix: Decimal(10) ** power for suffix, power in {"n": -9, "u": -6, "m": -3, "": 0, "k": 3}.items()},
    **{suffix: Decimal(1000) ** power for power, suffix in enumerate("MGTPE", start=2)},
    **{f"{suffix}i": Decimal(1024) ** power for power, suffix in enumerate("KMGTPE", start=1)},
}
_PARTS: Final = re.compile(r"(?P<number>\+?[0-9.]+(?:[eE][+-]?[0-9]+)?)(?P<suffix>[a-zA-Z]*)")


def amount(quantity: int | str) -> Decimal:
    """Return the number a quantity stands for: ``amount("1500m") == Decimal("1.5")``.

    Raises:
        ValueError: it is no quantity.

    """
    parts = _PARTS.fullmatch(str(quantity))
    if parts is None or parts["suffix"] not in FACTORS:
        raise ValueError(f"found {quantity!r}, expected a quantity such as 500m or 2Gi")
    return Decimal(parts["number"]) * FACTORS[parts["suffix"]]
