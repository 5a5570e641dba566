"""Numbers of pods, by the scale subresource alone (DESIGN 8). Session-aware scaling will say which numbers.

Fewer ``replicas`` in the spec are carried out at once: pods that are asked to stop take no new session and finish what
they have within their grace (gateways), or hand it over (ASR). Draining revisions keep the pods that they have.
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Final

from streamstack_operator.facts import Manifest, ObjectKey, Scale

MADE_WITH: Final = 1
"""Pods that the API server gives an object that is made without ``spec.replicas``."""


def scales(
    wanted: Mapping[ObjectKey, int], objects: Mapping[ObjectKey, Manifest], applied: Collection[ObjectKey]
) -> Iterator[Scale]:
    """Yield what differs; ``applied`` are the keys of what this plan makes where it is not there yet."""
    for key, replicas in wanted.items():
        if key in objects:
            now = int((objects[key].get("spec") or {}).get("replicas", MADE_WITH))
        elif key in applied:
            now = MADE_WITH
        else:
            continue
        if now != replicas:
            yield Scale(key, replicas)
