"""``python -m streamstack_asr``: one ASR server."""

import asyncio
import logging
import sys

import uvloop

from streamstack_asr import calibration
from streamstack_asr.engines import registry
from streamstack_asr.engines.base import EngineError
from streamstack_asr.server.tls import TlsError
from streamstack_asr.settings import AsrSettings
from streamstack_common import logs, process
from streamstack_common import settings as common_settings
from streamstack_common.calibration import CalibrationError
from streamstack_common.credential import CredentialError

logger = logging.getLogger("streamstack_asr")


def main() -> int:
    """Run the server; 0 after a requested stop, 1 when it cannot serve, 2 for wrong settings."""
    settings = common_settings.load(AsrSettings)
    logs.configure(service="asr", level=settings.logging_level, structured=settings.use_structured_logging)
    process.seal()
    process.die_with_parent()
    try:
        calibrated = calibration.read(settings)
        settings = calibration.with_slots(settings, calibrated)
        engine = registry.create(settings.engine, settings.engine_options)
        engine.prepare()
        # Not before: the fork server that prepare() may start must not inherit threads or locks of grpc.
        from streamstack_asr.server.run import serve

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve(settings, engine, calibrated))
    except (CalibrationError, CredentialError, TlsError) as error:
        common_settings.refuse_start([str(error)])
    except (EngineError, OSError) as error:
        logger.critical("cannot serve: %s", error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
