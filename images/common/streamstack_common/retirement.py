"""Whether a pod takes new sessions: retired and resumed by the operator, closed for good when it stops (DESIGN 4, 8)."""

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
    def accepting(self) -> bool:
        """Whether new sessions are taken."""
        return not self._retired and not self._stopping

    def retire(self, generation: int) -> None:
        """Take no new session. Raises StaleGenerationError."""
        self._move(generation)
        self._retired = True

    def resume(self, generation: int) -> None:
        """Take new sessions again, unless the process is stopping. Raises StaleGenerationError."""
        self._move(generation)
        self._retired = False

    def stop(self) -> None:
        """The process was asked to stop; nothing resumes it."""
        self._stopping = True

    def _move(self, generation: int) -> None:
        if generation < self.generation:
            raise StaleGenerationError(f"generation {generation} is older than {self.generation}, the last one obeyed")
        self.generation = generation
