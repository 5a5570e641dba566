"""Whether a pod takes new sessions: the operator retires and resumes it, a stop closes it for good (DESIGN 4, 8)."""

from enum import Enum


class Admission(Enum):
    """What ``/sessions`` says of new sessions."""

    OPEN = "open"
    RETIRED = "retired"
    LICENSE_BLOCKED = "license-blocked"


class StaleGenerationError(Exception):
    """The request is older than the last one that was carried out; the message names both generations."""


class Retirement:
    """Last request wins by its generation; repeating one changes nothing."""

    def __init__(self) -> None:
        self.generation = 0
        self._retired = False
        self._stopping = False

    @property
    def retired(self) -> bool:
        """Whether the last request was to retire."""
        return self._retired

    @property
    def stopping(self) -> bool:
        """Whether the process was asked to stop."""
        return self._stopping

    @property
    def accepting(self) -> bool:
        """Whether new sessions are taken."""
        return not self._retired and not self._stopping

    def retire(self, generation: int) -> bool:
        """Take no new session; tells whether that is news. Raises StaleGenerationError."""
        return self._move(generation, retired=True)

    def resume(self, generation: int) -> bool:
        """Take new sessions again, unless the process is stopping; tells whether that is news.

        Raises StaleGenerationError.
        """
        return self._move(generation, retired=False)

    def stop(self) -> None:
        """The process was asked to stop; nothing resumes it."""
        self._stopping = True

    def _move(self, generation: int, *, retired: bool) -> bool:
        if generation < self.generation:
            raise StaleGenerationError(f"generation {generation} is older than {self.generation}, the last one obeyed")
        self.generation = generation
        was_retired, self._retired = self._retired, retired
        return was_retired is not retired
