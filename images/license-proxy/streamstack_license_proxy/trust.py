"""What is remembered of a license's check-ins, and how long a good one is trusted. No I/O and no clock.

Clocks are set, batteries die, pods move: time since a good check-in is measured by what cannot be set. On the boot
(kernel) that saw it that is CLOCK_BOOTTIME alone, so that a jump of the wall clock changes nothing. On any other it is
the wall clock, but never less than the time that proxies were seen running since: a clock that is set back gives at
most the time of being switched off. The reference is the authority's own clock, which every answer tells.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final

MAX_LICENSES: Final = 16
"""Licenses remembered at once, so that one which comes back is neither new nor un-revoked."""

_LATEST: Final = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Moment:
    """Now, by every clock: ``wall`` is aware, ``boottime_seconds`` is CLOCK_BOOTTIME of the boot ``boot_id``."""

    wall: datetime
    boot_id: str
    boottime_seconds: float


@dataclass(frozen=True, slots=True)
class Stopwatch:
    """Time since something happened.

    Args:
        reference: when that was, by the best clock known then.
        boot_id: the boot that saw it.
        boottime_seconds: when that was, on that boot.
        seen_boot_id: the boot of the last look at this watch.
        seen_boottime_seconds: when that was, on that boot.
        counted_seconds: running time between start and last look, as far as one boot saw both ends of it.

    """

    reference: datetime
    boot_id: str
    boottime_seconds: float
    seen_boot_id: str
    seen_boottime_seconds: float
    counted_seconds: float = 0.0

    @classmethod
    def started(cls, now: Moment, *, reference: datetime) -> "Stopwatch":
        """Start one."""
        return cls(reference, now.boot_id, now.boottime_seconds, now.boot_id, now.boottime_seconds)

    def elapsed_seconds(self, now: Moment) -> float:
        """Time since the start, never negative."""
        if now.boot_id == self.boot_id:
            return max(0.0, now.boottime_seconds - self.boottime_seconds)
        return max(self._counted_seconds(now), (now.wall - self.reference).total_seconds())

    def noted(self, now: Moment) -> "Stopwatch":
        """After a look at ``now``: running time up to here can be hidden by no clock any more."""
        return replace(
            self,
            seen_boot_id=now.boot_id,
            seen_boottime_seconds=now.boottime_seconds,
            counted_seconds=self._counted_seconds(now),
        )

    def _counted_seconds(self, now: Moment) -> float:
        if now.boot_id != self.seen_boot_id:
            return self.counted_seconds
        return self.counted_seconds + max(0.0, now.boottime_seconds - self.seen_boottime_seconds)


@dataclass(frozen=True, slots=True)
class Trust:
    """What is remembered of one license's check-ins.

    Args:
        license_id: whose they are.
        since: time since the last good one; before there is one, since the license was first seen.
        last_good: the authority's clock at the last good one.
        last_failed: the last one was not good.
        revoked: the authority said so, and has not taken it back.

    """

    license_id: str
    since: Stopwatch
    last_good: datetime | None = None
    last_failed: bool = False
    revoked: bool = False

    @classmethod
    def first_seen(cls, license_id: str, now: Moment) -> "Trust":
        """Begin to remember."""
        return cls(license_id, Stopwatch.started(now, reference=now.wall))

    def good(self, now: Moment, *, authority_time: datetime) -> "Trust":
        """After a good check-in."""
        since = Stopwatch.started(now, reference=authority_time)
        return Trust(self.license_id, since, last_good=authority_time)

    def failed(self, now: Moment) -> "Trust":
        """After one without an answer that proves anything."""
        return replace(self, since=self.since.noted(now), last_failed=True)

    def found_revoked(self, now: Moment) -> "Trust":
        """After one whose answer is that the license is revoked."""
        return replace(self, since=self.since.noted(now), last_failed=True, revoked=True)

    def noted(self, now: Moment) -> "Trust":
        """After a look, such as at the start of a process."""
        return replace(self, since=self.since.noted(now))

    def left_seconds(self, window_seconds: float, now: Moment) -> float:
        """Trust that is left of a window; none is 0."""
        return max(0.0, window_seconds - self.since.elapsed_seconds(now))

    def trusted_until(self, window_seconds: float) -> datetime | None:
        """End of trust without another good check-in, by the authority's clock; None before the first one."""
        return None if self.last_good is None else later(self.last_good, window_seconds)

    def date(self, now: Moment) -> datetime:
        """What date it is, as a license's own dates are judged: by the authority's clock once it is known."""
        return now.wall if self.last_good is None else later(self.last_good, self.since.elapsed_seconds(now))


@dataclass(frozen=True, slots=True)
class Memory:
    """All that outlives the process: the installation's name at the authority, and its licenses' check-ins.

    ``trusts`` are in the order in which they were last used; ``ever_good`` outlives what is forgotten of them.
    """

    instance_id: str
    trusts: tuple[Trust, ...] = ()
    ever_good: bool = False

    def of(self, license_id: str) -> Trust | None:
        """What is remembered of one license."""
        return next((trust for trust in self.trusts if trust.license_id == license_id), None)

    def seen(self, license_id: str, now: Moment) -> "Memory":
        """Return a memory that knows this license, as the last one used."""
        return self._changed(license_id, now, lambda trust: trust.noted(now))

    def good(self, license_id: str, now: Moment, *, authority_time: datetime) -> "Memory":
        """After a good check-in."""
        after = self._changed(license_id, now, lambda trust: trust.good(now, authority_time=authority_time))
        return replace(after, ever_good=True)

    def failed(self, license_id: str, now: Moment) -> "Memory":
        """After one without an answer that proves anything."""
        return self._changed(license_id, now, lambda trust: trust.failed(now))

    def revoked(self, license_id: str, now: Moment) -> "Memory":
        """After one whose answer is that the license is revoked."""
        return self._changed(license_id, now, lambda trust: trust.found_revoked(now))

    def _changed(self, license_id: str, now: Moment, change: Callable[[Trust], Trust]) -> "Memory":
        trust = self.of(license_id) or Trust.first_seen(license_id, now)
        others = tuple(other for other in self.trusts if other.license_id != license_id)
        return replace(self, trusts=(*others[1 - MAX_LICENSES :], change(trust)))


def later(moment: datetime, seconds: float) -> datetime:
    """``moment`` and so many seconds, at most the end of the calendar."""
    try:
        return moment + timedelta(seconds=seconds)
    except OverflowError:
        return _LATEST
