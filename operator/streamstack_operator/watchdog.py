"""Whether the operator still gets anywhere: what the liveness probe is answered.

That the probe is answered at all proves that the event loop turns, and nothing else.
"""

from collections.abc import Callable

from streamstack_operator.queue import KeyedQueue


def watchdog(queue: KeyedQueue, *, after_seconds: float) -> Callable[[], str | None]:
    """Return what says why the operator is stuck, or None: a pass that was due has not ended for ``after_seconds``."""

    def alive() -> str | None:
        late = queue.late()
        if late is None or late[1] < after_seconds:
            return None
        key, seconds = late
        return f"{key} has waited {seconds:.0f} s for a pass to end; expected less than {after_seconds:.0f} s"

    return alive
