"""What the model's steps give: tokens on the session's audio clock."""

from dataclasses import dataclass
from typing import NamedTuple


class Token(NamedTuple):
    """One emitted token; ``sample`` is the centre of the 80 ms frame it was emitted at."""

    token: int
    sample: int
    log_probability: float


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the model: audio up to ``through_sample`` is decoded.

    ``blank_posteriors`` has a probability a frame, ``speech`` the voice detector's for each 32 ms window that ended in
    the step.
    """

    through_sample: int
    tokens: tuple[Token, ...]
    blank_posteriors: tuple[float, ...] = ()
    speech: tuple[float, ...] = ()
