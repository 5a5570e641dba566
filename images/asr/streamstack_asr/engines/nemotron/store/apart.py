"""The same for a server that is starting: whatever takes long is done where it can be ended at any moment."""

import asyncio
import logging
import os
import sys
from contextlib import suppress

from streamstack_asr.engines.nemotron.facts import ModelError
from streamstack_asr.engines.nemotron.store.locating import ModelFolder, StoreSettings, locate

logger = logging.getLogger("streamstack_asr.store")

_COMMAND = (sys.executable, "-m", "streamstack_asr.engines.nemotron.store", "fetch")


async def locate_apart(settings: StoreSettings) -> ModelFolder:
    """Return the model as :func:`locate` does; an archive is fetched by a process, which a cancelled call ends.

    Raises ModelError.
    """
    if settings.archive:
        await _fetch(settings)
    return await asyncio.to_thread(locate, settings)


async def _fetch(settings: StoreSettings) -> None:
    process = await asyncio.create_subprocess_exec(
        *_COMMAND,
        env={**os.environ, **settings.as_environment()},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    last = ""
    try:
        if process.stderr is not None:
            async for line in process.stderr:
                last = line.decode(errors="replace").strip() or last
                logger.info("%s", last)
        status = await process.wait()
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    if status != 0:
        raise ModelError(last.removeprefix("model store: ") or f"the model store's process ended with {status}")
