"""Which server takes a session (DESIGN 5 "Placement"); ``ports`` is what sessions see of it."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from streamstack_common.credential import Credential
    from streamstack_gateway.placement.config import PlacementConfig
    from streamstack_gateway.placement.service import PlacementService

__all__ = ["create_pools"]


def create_pools(
    config: "PlacementConfig", *, credential: "Credential", registry: "CollectorRegistry"
) -> "PlacementService":
    """Make the pools of a gateway: ``Pools`` plus ``start`` and ``stop``. Raises PlacementConfigError."""
    # Links know the ports in this package, and the pools know links: imported here, that is no circle.
    from streamstack_gateway.placement.service import create

    return create(config, credential=credential, registry=registry)
