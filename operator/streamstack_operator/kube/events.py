"""Events as ``kubectl describe`` shows them."""

import secrets
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from streamstack_operator.facts import Manifest, StackEvent
from streamstack_operator.names import CHILD_MANAGER

MESSAGE_LENGTH: Final = 1024
"""The API server takes no longer message (kubernetes pkg/apis/core/validation/events.go)."""


def event_manifest(about: Mapping[str, Any], event: StackEvent, *, now: datetime) -> Manifest:
    """Return the Event object of something that happened to ``about`` at ``now`` (UTC)."""
    metadata = about["metadata"]
    moment = now.strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{metadata['name']}.{secrets.token_hex(8)}", "namespace": metadata["namespace"]},
        "involvedObject": {
            "apiVersion": about["apiVersion"],
            "kind": about["kind"],
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "uid": metadata["uid"],
            "resourceVersion": metadata["resourceVersion"],
        },
        "type": str(event.type),
        "reason": str(event.reason),
        "message": event.message[:MESSAGE_LENGTH],
        "source": {"component": CHILD_MANAGER},
        "reportingComponent": CHILD_MANAGER,
        "firstTimestamp": moment,
        "lastTimestamp": moment,
        "count": 1,
    }
