"""What goes wrong when, decided by a seed before anything runs. Pure: no clock, no process.

Every kind of target has a deck of its faults, drawn to the end and shuffled again: a long run has all of them, on
targets of chance. Faults of one target never overlap; those of different targets do.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from support.relay import Trouble


class Fault(Enum):
    """What a process suffers; ``hold_seconds`` later it is started, goes on, or has its disk back."""

    KILLED = "SIGKILL"
    KILLED_CLOCK_AHEAD = "SIGKILL, back with a clock hours ahead"
    KILLED_CLOCK_BEHIND = "SIGKILL, back with a clock hours behind"
    STOPPED = "SIGSTOP"
    DISK_FULL = "its disk is full"
    KILLED_DISK_FULL = "SIGKILL, back with a full disk"


SKEW_HOURS: Mapping[Fault, int] = {Fault.KILLED_CLOCK_AHEAD: 7, Fault.KILLED_CLOCK_BEHIND: -5}


@dataclass(frozen=True, slots=True)
class Planned:
    """One fault: of a process (``gateway-1``) or of a line (``gateway-1>proxy-0``)."""

    at_seconds: float
    target: str
    what: Fault | Trouble
    hold_seconds: float

    def __str__(self) -> str:
        return f"{self.at_seconds:6.1f} s {self.target}: {self.what.value}, {self.hold_seconds:.1f} s"


@dataclass(frozen=True, slots=True)
class Suffering:
    """What targets of one kind go through: pauses between faults and their lengths in seconds, from and to."""

    targets: tuple[str, ...]
    deck: tuple[Fault | Trouble, ...]
    pause: tuple[float, float]
    hold: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Cast:
    """Names of everything that can fail."""

    gateways: tuple[str, ...]
    proxies: tuple[str, ...]
    authority: str
    recognizers: tuple[str, ...]

    @property
    def reporting_lines(self) -> tuple[str, ...]:
        return tuple(f"{gateway}>{proxy}" for gateway in self.gateways for proxy in self.proxies)

    @property
    def uploading_lines(self) -> tuple[str, ...]:
        return tuple(f"{proxy}>{self.authority}" for proxy in self.proxies)


KILLED_OR_STOPPED = (Fault.KILLED, Fault.STOPPED)
KILLED_ANY_CLOCK = (Fault.KILLED, Fault.KILLED_CLOCK_AHEAD, Fault.KILLED_CLOCK_BEHIND)
DISKS = (Fault.DISK_FULL, Fault.KILLED_DISK_FULL)


def everything(cast: Cast, *, disks: bool) -> tuple[Suffering, ...]:
    """All kinds of trouble, about a hundred faults in two minutes; ``disks`` that can be full need a privilege.

    The authority's clock is right: licenses are judged by it. A gateway's disk has room: what nobody took is there.
    """
    full = DISKS if disks else ()
    proxy_deck = (*KILLED_ANY_CLOCK, Fault.STOPPED, *full)
    gateway_deck = (*KILLED_ANY_CLOCK, Fault.STOPPED, Fault.STOPPED)
    return (
        Suffering(cast.gateways, gateway_deck, pause=(10, 24), hold=(0.5, 5)),
        Suffering(cast.proxies, proxy_deck, pause=(8, 16), hold=(0.5, 5)),
        Suffering((cast.authority,), (*KILLED_OR_STOPPED, *full), pause=(8, 18), hold=(0.5, 5)),
        Suffering(cast.recognizers, KILLED_OR_STOPPED, pause=(6, 16), hold=(0.2, 3)),
        Suffering(cast.reporting_lines, tuple(Trouble), pause=(8, 24), hold=(1, 7)),
        Suffering(cast.uploading_lines, tuple(Trouble), pause=(8, 18), hold=(1, 5)),
    )


def plan(sufferings: Sequence[Suffering], chance: random.Random, *, seconds: float) -> tuple[Planned, ...]:
    """All faults of a run of ``seconds``, in the order of their beginnings."""
    faults = [fault for suffering in sufferings for fault in _of(suffering, chance, seconds)]
    return tuple(sorted(faults, key=lambda fault: fault.at_seconds))


def _of(suffering: Suffering, chance: random.Random, seconds: float) -> Iterator[Planned]:
    """Faults of one kind of target, the deck dealt in the order of time."""
    times = sorted(
        (at, target, hold) for target in suffering.targets for at, hold in _times(suffering, chance, seconds)
    )
    deck: list[Fault | Trouble] = []
    for at, target, hold in times:
        if not deck:
            deck = chance.sample(suffering.deck, len(suffering.deck))
        yield Planned(at, target, deck.pop(), hold)


def _times(suffering: Suffering, chance: random.Random, seconds: float) -> Iterator[tuple[float, float]]:
    at = chance.uniform(0, suffering.pause[1])
    while at < seconds:
        hold = chance.uniform(*suffering.hold)
        yield at, min(hold, seconds - at)
        at += hold + chance.uniform(*suffering.pause)
