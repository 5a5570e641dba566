"""Templates by version of the renderer, and the revision that a template is.

A revision keeps the version and the image that it began with (``Rendering``, in the status), so that a new operator
renders the same template again: an operator upgrade makes no revision (DESIGN 4, "Templates").
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from streamstack_operator.build import asr_pod, gateway_pod
from streamstack_operator.facts import Manifest, Release, Stack
from streamstack_operator.model.pool import Engine, Pool
from streamstack_operator.model.status import Rendering
from streamstack_operator.names import REVISION_LENGTH, Component


class UnknownRendererError(ValueError):
    """The status asks for a version of the renderer that this operator does not have: a newer one wrote it."""


@dataclass(frozen=True, slots=True)
class Renderer:
    """One version's templates, each of what is given and a revision's name: the name is in labels and environment."""

    gateway: Callable[[Stack, str, str], Manifest]
    """Stack, default image, revision."""
    asr: Callable[[Stack, Pool, str, str], Manifest]
    """Stack, pool, default image, revision."""


RENDERERS: Final[Mapping[int, Renderer]] = {
    1: Renderer(gateway_pod.template_1, asr_pod.template_1),
    2: Renderer(gateway_pod.template_2, asr_pod.template_1),
    3: Renderer(gateway_pod.template_2, asr_pod.template_3),
}
"""A version that was released never changes: what it renders would be a new revision of every stack there is."""

NEWEST: Final = max(RENDERERS)


@dataclass(frozen=True, slots=True)
class Rendered:
    """A revision: its name, its Deployment, and how that was made."""

    revision: str
    deployment: Manifest
    rendering: Rendering


def newest(release: Release, component: Component, engine: Engine | None = None) -> Rendering:
    """Return how this operator makes a new revision: gateways, or ASR with an engine."""
    if component is Component.GATEWAY:
        image = "gateway"
    else:
        image = "asr-nemotron" if engine is Engine.NEMOTRON else "asr-sphinx"
    return Rendering(version=release.renderer, image=release.images[image])


def renderer(rendering: Rendering) -> Renderer:
    """Return the version that a rendering asks for. Raises UnknownRendererError."""
    found = RENDERERS.get(rendering.version)
    if found is None:
        raise UnknownRendererError(
            f"renderer {rendering.version}: this operator has {', '.join(map(str, RENDERERS))}; "
            "expected an operator at least as new as the one that wrote the status"
        )
    return found


def revision_of(template: Callable[[str], Manifest], rendering: Rendering) -> str:
    """Return the revision of a template: a hash of it, without its own name in it, and of the renderer's version."""
    hashed = json.dumps([rendering.version, template("")], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(hashed.encode()).hexdigest()[:REVISION_LENGTH]
