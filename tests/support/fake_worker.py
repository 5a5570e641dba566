"""The process of a worker with the fake model. Arguments: options as JSON, the socket's descriptor, the server's pid.

``cannot`` names a file: while it is there, the worker cannot serve, and says so with what it holds. ``dies`` names one
while which is there it dies before it serves. ``step_seconds`` is what a step takes, and ``says`` a line for
the log.
"""

import json
import logging
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from streamstack_asr.engines.base import EngineError
from streamstack_asr.engines.nemotron.config import WorkerConfig
from streamstack_asr.engines.nemotron.worker.entry import main
from streamstack_asr.engines.nemotron.worker.machinery import Machinery
from support import fake_slots


def assemble(config: WorkerConfig) -> Machinery:
    options = json.loads(sys.argv[1])
    cannot, dies = Path(options.get("cannot", "/nowhere")), Path(options.get("dies", "/nowhere"))
    if cannot.exists():
        raise EngineError(cannot.read_text())
    if dies.exists():
        os._exit(7)
    if "says" in options:
        logging.getLogger("fake").warning(options["says"])
    return fake_slots.assemble(config, step_seconds=options.get("step_seconds", 0.0))


if __name__ == "__main__":
    main(assemble, sys.argv[2:])
