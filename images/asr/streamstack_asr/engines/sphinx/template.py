"""The server's handle on the fork server process."""

import asyncio
import json
import logging
import socket
import subprocess
import sys
from typing import Final

from streamstack_asr.engines.base import EngineError
from streamstack_asr.engines.sphinx.control import LARGEST_CONTROL_MESSAGE

_MODULE: Final = "streamstack_asr.engines.sphinx.forkserver"  # by name: importing it would load pocketsphinx here
_STOP_SECONDS: Final = 5.0
_log = logging.getLogger(__name__)


class ForkServer:
    """One fork server: a fresh interpreter, so that nothing of this process (threads, grpc's locks) is forked."""

    def __init__(self, *, decoders: int) -> None:
        """Start it; it loads while this process goes on. Raises EngineError."""
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [sys.executable, "-m", _MODULE, str(theirs.fileno()), str(decoders)]
        try:
            self._process = subprocess.Popen(  # noqa: S603 - our own module, by our own interpreter
                command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL
            )
        except OSError as error:
            self._control.close()
            raise EngineError(f"the sphinx engine could not start its fork server: {error}") from error
        finally:
            theirs.close()
        self._control.setblocking(False)

    async def loaded(self) -> None:
        """Return when the model is loaded. Raises EngineError when it cannot be."""
        loop = asyncio.get_running_loop()
        try:
            message = await loop.sock_recv(self._control, LARGEST_CONTROL_MESSAGE)
        except ConnectionResetError:
            message = b""
        if not message:
            raise EngineError("the sphinx engine's fork server ended while it loaded the model")
        error = json.loads(message).get("error")
        if error is not None:
            raise EngineError(f"the sphinx engine has no model: {error}")

    def fork(self) -> socket.socket:
        """A new worker's socket; what is written before the worker runs reaches it. Raises OSError when it is gone."""
        ours, theirs = socket.socketpair()
        try:
            socket.send_fds(self._control, [b"fork"], [theirs.fileno()])
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
        return ours

    async def stop(self) -> None:
        """End it and all its workers; return when no process is left."""
        self._control.close()
        try:
            await asyncio.to_thread(self._process.wait, _STOP_SECONDS)
        except subprocess.TimeoutExpired:
            _log.warning("fork server did not end when asked, killing it", extra={"pid": self._process.pid})
            self._process.kill()  # its workers end with their sockets
            await asyncio.to_thread(self._process.wait)
