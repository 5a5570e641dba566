"""Which license a model is under, and whether whoever runs it has accepted it.

A folder says it in ``manifest.json`` or in its card (the head of ``README.md``, as model hubs have it); the published
checkpoints are known by name. Nothing is asked for a model that says nothing.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from streamstack_asr.engines.nemotron.facts import ModelError


@dataclass(frozen=True, slots=True)
class License:
    """A license by its identifier, with its name for people; ``free`` needs no acceptance."""

    identifier: str
    name: str
    free: bool = False


NVIDIA_OPEN: Final = License("NVIDIA-Open-Model-License", "NVIDIA Open Model License Agreement")
OPENMDW: Final = License("OpenMDW-1.1", "OpenMDW License Agreement, version 1.1")

_FREE: Final = {
    name.casefold(): name for name in ("Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC-BY-4.0", "CC0-1.0", "MIT")
}
"""Licenses (SPDX) that ask for no agreement before use."""

_KNOWN: Final = {
    "nvidia-open-model-license": NVIDIA_OPEN,
    "openmdw-1.1": OPENMDW,
    "openmdw": OPENMDW,
}
_BY_MODEL: Final = {
    "nemotron-speech-streaming-en-0.6b": NVIDIA_OPEN,
    "nemotron-3.5-asr-streaming-0.6b": OPENMDW,
}
"""nvidia's; also under a folder of another owner they stay what they are."""

_CARD_BYTES: Final = 64 << 10
_IDENTIFIER: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,127}")


def license_of(folder: Path, *, model: str, stated: str = "") -> License | None:
    """Return the license of a model: what its manifest states, else what its name or its card says, else None."""
    known = _BY_MODEL.get(model.rpartition("/")[2].casefold())
    said = stated or ("" if known else _card_license(folder / "README.md"))
    return _license(said) if said else known


def require_acceptance(license_: License | None, *, model: str, accepted: Iterable[str]) -> None:
    """Raise ModelError when the license has to be accepted and ``accepted`` does not name it."""
    if license_ is None or license_.free:
        return
    if license_.identifier.casefold() not in {name.strip().casefold() for name in accepted}:
        raise ModelError(
            f"model {model} is under the {license_.name}, which you have to accept: read it, then set "
            f"MODEL_LICENSE_ACCEPTED={license_.identifier}"
        )


def identifiers(text: str) -> tuple[str, ...]:
    """Return the identifiers of a list separated by commas or spaces."""
    return tuple(part for part in re.split(r"[\s,]+", text) if part)


def _license(said: str) -> License:
    key = re.sub(r"\s+", "-", said.strip()).casefold()
    if key in _FREE:
        return License(_FREE[key], _FREE[key], free=True)
    if key in _KNOWN:
        return _KNOWN[key]
    identifier = re.sub(r"[^A-Za-z0-9._+-]", "", re.sub(r"\s+", "-", said.strip())).lstrip("._+-")[:128]
    if not _IDENTIFIER.fullmatch(identifier):
        raise ModelError(f"the model's license is {said[:100]!r}, expected an identifier such as {OPENMDW.identifier}")
    return License(identifier, f"license {said.strip()[:100]}")


def _card_license(card: Path) -> str:
    """Return ``license``, or ``license_name`` where that is ``other``, of the card's head; empty without one."""
    try:
        with card.open("rb") as file:
            text = file.read(_CARD_BYTES).decode("utf-8", errors="replace")
    except OSError:
        return ""
    head = re.match(r"---\r?\n(.*?)\r?\n---", text, re.DOTALL)
    fields: list[tuple[str, str]] = re.findall(
        r"^(license|license_name):[ \t]*[\"']?([^\"'\r\n#]*)", head[1] if head else "", re.MULTILINE
    )
    said = {name: value.strip() for name, value in fields}
    other = said.get("license", "").casefold() in {"", "other"}
    return said.get("license_name", said.get("license", "")) if other else said["license"]
