"""One budget of bytes for every buffer of a gateway pod (DESIGN 4 "Bytes")."""

from typing import Final

CLOSE_ADMISSION_AT: Final = 0.7
"""Share of the budget at which no new session is admitted, so that those that live can still buffer."""


class ByteBudget:
    """Bytes held for replay and backlog by all sessions."""

    __slots__ = ("limit", "used")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0

    @property
    def admits(self) -> bool:
        """Whether a new session may begin."""
        return self.used < self.limit * CLOSE_ADMISSION_AT

    @property
    def exceeded(self) -> bool:
        """Whether the session with the longest backlog has to end."""
        return self.used > self.limit
