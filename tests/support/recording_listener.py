"""A session's side of a pool that remembers what it hears."""

from collections.abc import Callable

from streamstack_common.contracts import asr_pb2
from streamstack_gateway.placement.ports import Attempt
from support.waiting import Waiting


class RecordingListener(Waiting):
    """Implements ``Listener``. ``raises_in`` names the one callback that has a bug."""

    def __init__(self, name: str = "session", *, raises_in: str = "") -> None:
        super().__init__()
        self.name = name
        self.heard: list[str] = []
        self.messages: list[object] = []
        self.attempts: list[Attempt] = []
        self.losses: list[str] = []
        self.opens = 0
        self.on_lost: Callable[[], object] = lambda: None
        self._raises_in = raises_in

    @property
    def attempt(self) -> Attempt:
        return self.attempts[-1]

    def open_request(self) -> asr_pb2.Open:
        self.opens += 1
        self._hear("open_request", None)
        return asr_pb2.Open(session_id=self.name, model="en-default", attempt=self.opens - 1)

    def opened(self, attempt: Attempt) -> None:
        self.attempts.append(attempt)
        self._hear("opened", None)

    def hypothesis(self, message: asr_pb2.Hypothesis) -> None:
        self._hear("hypothesis", message)

    def final(self, message: asr_pb2.Final) -> None:
        self._hear("final", message)

    def turn_ended(self, message: asr_pb2.TurnEnded) -> None:
        self._hear("turn_ended", message)

    def please_move(self, message: asr_pb2.PleaseMove) -> None:
        self._hear("please_move", message)

    def lost(self, reason: str) -> None:
        self.losses.append(str(reason))
        self._hear("lost", None)
        self.on_lost()

    def _hear(self, what: str, message: object) -> None:
        self.heard.append(what)
        if message is not None:
            self.messages.append(message)
        self.notify()
        if what == self._raises_in:
            raise RuntimeError(" ".join(["words", "of", "a", "caller"]))
