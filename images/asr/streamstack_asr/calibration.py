"""How many slots a server has by the calibration of its machine, and whether that was made for what it serves.

A calibration says nothing about another model, device, precision or chunk: with another, a server would promise what it
cannot keep, so it does not start.
"""

import logging
from pathlib import Path

from streamstack_asr.engines.base import EngineDescription, EngineError
from streamstack_asr.settings import AsrSettings
from streamstack_common import calibration
from streamstack_common.calibration import Calibration, CalibrationError

logger = logging.getLogger(__name__)


def read(settings: AsrSettings) -> Calibration | None:
    """Return the calibration that decides the slots; None when there is none, or they were given.

    Raises CalibrationError: the file cannot be used, or is for another engine.
    """
    path = settings.calibration_file
    if path is None:
        return None
    if "max_open_streams" in settings.model_fields_set:
        logger.info("MAX_OPEN_STREAMS was given: %d slots, whatever %s says", settings.max_open_streams, path)
        return None
    found = calibration.read(Path(path))
    if found.engine != settings.engine:
        raise CalibrationError(f"{path} is for engine {found.engine!r}: expected one for {settings.engine!r}")
    return found


def with_slots(settings: AsrSettings, found: Calibration | None) -> AsrSettings:
    """Return the settings with the slots of a calibration, if there is one."""
    if found is None:
        return settings
    logger.info("%d slots: %s found a capacity of %d", found.slots, settings.calibration_file, found.capacity)
    return settings.model_copy(update={"max_open_streams": found.slots})


def check(found: Calibration | None, served: EngineDescription) -> None:
    """Compare with what an engine, once started, says it runs. Raises EngineError naming what differs."""
    if found is None:
        return
    differences = [
        f"{name} {ours!r}, and is served {theirs!r}"
        for name, ours, theirs in (
            ("engine", found.engine, served.engine),
            ("model", found.model, served.model),
            ("device", found.device, served.device),
            ("precision", found.precision, served.precision),
            ("chunk_ms", found.chunk_ms, served.chunk_ms),
        )
        if ours != theirs
    ]
    if differences:
        raise EngineError(
            f"the calibration is for {'; '.join(differences)}: "
            "expected one of what is served; run `streamstack calibrate` again, or give MAX_OPEN_STREAMS"
        )
