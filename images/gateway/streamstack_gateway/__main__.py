"""``python -m streamstack_gateway``: the gateway as a process."""

import logging
import sys

import uvloop

from streamstack_common import logs
from streamstack_common.process import die_with_parent, open_files_to_the_limit, seal, stop_requested
from streamstack_common.settings import load
from streamstack_gateway.gateway import Gateway
from streamstack_gateway.settings import GatewaySettings


async def _serve(gateway: Gateway) -> None:
    await gateway.run(stop_requested())


def main() -> int:
    """Run until stopped; 2 when the configuration cannot work."""
    settings = load(GatewaySettings)
    seal()
    die_with_parent()
    open_files_to_the_limit()
    logs.configure(service="gateway", level=settings.logging_level, structured=settings.use_structured_logging)
    try:
        gateway = Gateway(settings)
        uvloop.run(_serve(gateway))
    except (ValueError, OSError) as error:
        logging.getLogger(__name__).critical("cannot serve: %s", error)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
