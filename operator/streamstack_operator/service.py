"""The operator as a process: puts the pieces together, serves until asked to stop."""

import logging

from prometheus_client import CollectorRegistry, Gauge

from streamstack_common import process
from streamstack_common.credential import Credential
from streamstack_common.internal_http import InternalHttp, base_url
from streamstack_operator.api_watch import ApiWatch
from streamstack_operator.kube import ApiServer
from streamstack_operator.settings import OperatorSettings

log = logging.getLogger(__name__)


async def serve(settings: OperatorSettings, *, credential: Credential, server: ApiServer) -> None:
    """Serve until SIGTERM or SIGINT."""
    stop = process.stop_requested()
    watch = ApiWatch(server, every_seconds=settings.api_check_seconds)
    registry = CollectorRegistry()
    Gauge(
        "streamstack_operator_api_server_usable",
        "1 while the API server answers and is of a version this operator knows",
        registry=registry,
    ).set_function(lambda: float(watch.problem is None))
    http = InternalHttp(credential=credential, registry=registry, ready=lambda: watch.problem)
    port = await http.start(settings.host, settings.internal_port)
    try:
        log.info("operator serves on port %d", port)
        log.warning("this version watches the API server only: StreamingStack objects come with the next one")
        process.announce(operator=base_url(settings.host, port))
        # A watch that breaks takes the process down: the kubelet starts a new one.
        await process.run_until(stop, watch.run())
    finally:
        await http.stop()
    log.info("operator stopped")
