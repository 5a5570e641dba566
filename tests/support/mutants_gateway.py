"""A gateway that counts audio again when it is replayed to another speech-recognition server."""

from streamstack_common.contracts.rpc import SAMPLE_RATE
from streamstack_gateway.__main__ import main
from streamstack_gateway.placement.ports import Attempt
from streamstack_gateway.session.session import Session
from streamstack_gateway.session.upstream import Upstream

_opened = Upstream.opened
_accepted_ms: property = vars(Session)["audio_ms"]
_replayed: dict[int, int] = {}
"""Samples, by the identity of what sends them; nothing is ever forgotten, a test does not run that long."""


def _counting(self: Upstream, attempt: Attempt, first_sample: int) -> None:
    _replayed[id(self)] = _replayed.get(id(self), 0) + max(0, self.sent - first_sample)
    _opened(self, attempt, first_sample)


def _counted_ms(self: Session) -> int:
    accepted_ms: int = _accepted_ms.__get__(self)
    return accepted_ms + _replayed.get(id(self.recognition.upstream), 0) * 1000 // SAMPLE_RATE


if __name__ == "__main__":
    Upstream.opened = _counting  # type: ignore[method-assign]
    Session.audio_ms = property(_counted_ms)  # type: ignore[assignment,method-assign]
    main()
