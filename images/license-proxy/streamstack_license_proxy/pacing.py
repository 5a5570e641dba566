"""When the next check-in is due, and how long an answer stands for want of a later one. No I/O, clock or chance."""

from typing import Final

ANSWER_SECONDS: Final = 15.0
"""For one request to the authority with its answer; an upload of ``MAX_UPLOAD_BYTES`` needs 70 KB/s."""
JITTER: Final = 0.2
"""Check-ins come up to this part of the interval early or late, so that proxies do not march in step."""
FIRST_RETRY_SECONDS: Final = 1.0
"""After a failure; doubled by every further one, up to the interval."""
WINDOW_PARTS: Final = 4
SHORTEST_SECONDS: Final = 5.0
"""A trust window is divided into so many intervals at least, of this length at least: no setting stretches it."""


def interval_seconds(setting_seconds: float, window_seconds: float) -> float:
    """Pause between two good check-ins, from the setting and the license's trust window."""
    return min(setting_seconds, max(SHORTEST_SECONDS, window_seconds / WINDOW_PARTS))


def answer_holds_seconds(interval: float) -> float:
    """How long a good answer stands for want of a later one: the next comes, or fails, before."""
    return interval * (1 + JITTER) + ANSWER_SECONDS


def pause_seconds(interval: float, failures: int, chance: float) -> float:
    """How long to wait for the next check-in after so many failures in a row; ``chance`` is in [0, 1)."""
    if failures == 0:
        return interval * (1 + JITTER * (2 * chance - 1))
    # 2 ** 30 seconds is longer than any interval: the power itself stays small.
    ceiling = min(interval, FIRST_RETRY_SECONDS * 2.0 ** min(failures - 1, 30))
    return ceiling * (0.5 + chance / 2)
