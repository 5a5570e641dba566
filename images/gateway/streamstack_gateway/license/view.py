"""What a gateway believes of the license, and whether it may take a new session. No I/O and no clock.

Unreachable is not Failed (DESIGN 4): the last state told counts until its trust expires, across restarts. Nothing here
ever touches a live session.
"""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final

from streamstack_common.license_status import LicenseState, LicenseStatus

DEFAULT_TRUST: Final = timedelta(days=4)
"""Trust where the proxy names no end of it: the window in the seed's example of ``/v1/status``."""


@dataclass(frozen=True, slots=True)
class Told:
    """What the proxy said last, and when (aware)."""

    state: LicenseState
    trust_expiration: datetime | None
    heard_at: datetime

    def trusted_until(self, window: timedelta) -> datetime:
        """End of trust without further contact; ``window`` counts where the proxy named no end."""
        if self.trust_expiration is not None:
            return self.trust_expiration
        try:
            return self.heard_at + window
        except OverflowError:
            return datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class LicenseView:
    """A gateway's belief.

    Args:
        window: trust after the last contact, where the proxy named no end of it.
        told: what the proxy said last; None when it never said anything.
        reachable: the last poll was answered; false after a restart, until one is.

    """

    window: timedelta = DEFAULT_TRUST
    told: Told | None = None
    reachable: bool = False

    def heard(self, status: LicenseStatus, now: datetime) -> "LicenseView":
        """After an answer."""
        return replace(self, told=Told(status.state, status.trust_expiration, now), reachable=True)

    def unreachable(self) -> "LicenseView":
        """After a poll without a usable answer."""
        return replace(self, reachable=False)

    @property
    def state(self) -> LicenseState | None:
        """The last state told."""
        return None if self.told is None else self.told.state

    def admits(self, now: datetime) -> str | None:
        """Say why no new session may begin, or None when it may."""
        if self.told is None:
            return "the license proxy was never reached"
        if self.told.state is LicenseState.FAILED:
            return "the license proxy says that the license is Failed"
        # While the proxy answers, it is the judge of trust; its clock may differ from ours.
        if not self.reachable and now >= self.told.trusted_until(self.window):
            return f"the license proxy is unreachable and its word {self.told.state} is trusted no longer"
        return None
