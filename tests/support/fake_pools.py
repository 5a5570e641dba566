"""A pool whose servers a test plays by hand: the same interface, no sockets."""

from dataclasses import dataclass, field

from streamstack_common.contracts import asr_pb2
from streamstack_gateway.placement.ports import Listener, PoolReport, ServerFacts


@dataclass
class HandServer:
    """An attempt that records what it is told; the test answers through ``listener``."""

    listener: Listener
    request: asr_pb2.Open
    facts: ServerFacts
    audio_bytes: bytearray = field(default_factory=bytearray)
    position: int = 0
    ends: list[tuple[int, int]] = field(default_factory=list)
    configs: list[asr_pb2.SessionConfig] = field(default_factory=list)
    closed: bool = False
    is_congested: bool = False

    def audio(self, offset: int, pcm: bytes) -> None:
        assert offset == self.position, f"audio at {offset}, expected {self.position}"
        self.audio_bytes += pcm
        self.position = offset + len(pcm) // 2

    def end_turn(self, turn_id: int, through_sample: int) -> None:
        self.ends.append((turn_id, through_sample))

    def update(self, config: asr_pb2.SessionConfig) -> None:
        self.configs.append(config)

    def close(self) -> None:
        self.closed = True


@dataclass
class HandTicket:
    pools: "HandPools"
    listener: Listener

    def leave(self) -> None:
        if self.listener in self.pools.waiting:
            self.pools.waiting.remove(self.listener)


@dataclass
class HandPools:
    """Sessions wait until the test serves them."""

    free: int | None = None
    waiting: list[Listener] = field(default_factory=list)
    refused: int = 0

    def free_slots(self, pool: str) -> int | None:
        return self.free

    def refuse(self, pool: str) -> None:
        self.refused += 1

    def enter(self, pool: str, listener: Listener) -> HandTicket:
        self.waiting.append(listener)
        return HandTicket(self, listener)

    def report(self) -> dict[str, PoolReport]:
        return {"english": PoolReport(0, len(self.waiting), self.refused)}

    def serve(self, *, left_context_ms: int = 200, chunk_ms: int = 100, window_ms: int = 10_000) -> HandServer:
        """Give the session that waits longest a server."""
        listener = self.waiting.pop(0)
        request = listener.open_request()
        server = HandServer(listener, request, ServerFacts("hand", left_context_ms, chunk_ms, window_ms))
        server.position = request.first_sample
        listener.opened(server)
        return server
