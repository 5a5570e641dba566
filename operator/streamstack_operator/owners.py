"""Whose an object is: the controller among its owner references."""

from collections.abc import Mapping
from typing import Any


def controller_uid(manifest: Mapping[str, Any]) -> str | None:
    """Return the uid of an object's controller, None where it has none."""
    for owner in manifest["metadata"].get("ownerReferences") or []:
        if owner.get("controller"):
            return str(owner["uid"])
    return None


def is_controlled_by(manifest: Mapping[str, Any], uid: str) -> bool:
    """Tell whether an object belongs to the one with that uid."""
    return controller_uid(manifest) == uid
