"""AssemblyAI's streaming API, version 3, sans I/O: ``reference/assemblyai-protocol.md`` 1 to 10, choices of 17."""

from streamstack_gateway.dialects.events import ClientEvent, ServerEvent, SessionRequest, TurnSettings
from streamstack_gateway.dialects.v3.encode import encode
from streamstack_gateway.dialects.v3.messages import parse_message
from streamstack_gateway.dialects.v3.query import DEFAULTS, parse_request

__all__ = ["DEFAULTS", "V3"]


class V3:
    """The dialect; ``defaults`` are the turn settings of a session that asks for none."""

    name = "v3"

    def __init__(self, defaults: TurnSettings = DEFAULTS) -> None:
        self._defaults = defaults

    def request(self, target: str) -> SessionRequest:
        """Parse the request target (path and query) of an upgrade. Raises SessionError 3006."""
        return parse_request(target, self._defaults)

    def receive(self, text: bytes) -> ClientEvent:
        """Parse one text message, UTF-8. Raises SessionError 3006."""
        return parse_message(text)

    def send(self, event: ServerEvent) -> bytes:
        """Encode one message for the client."""
        return encode(event)
