"""What a gateway believes of the license, and whether it may take a new session. No I/O and no clock.

Unreachable is not Failed (DESIGN 4): the last state told counts until its trust expires, across restarts. Nothing here
ever touches a live session.
"""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final

from streamstack_common.license_status import Billing, LicenseReport, LicenseState

DEFAULT_TRUST: Final = timedelta(days=4)
"""Trust where the proxy names no end of it: the window in the seed's example of ``/v1/status``."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What the license asks of gateways. None where no authentic license was told of yet.

    ``max_sessions`` is of the whole stack, None is no limit; ``models`` are the names it lists, ``*`` is any.
    """

    billing: Billing | None = None
    max_sessions: int | None = None
    models: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Told:
    """What the proxy said last, and when (aware)."""

    state: LicenseState
    trust_expiration: datetime | None
    heard_at: datetime
    terms: Terms = Terms()

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

    def heard(self, report: LicenseReport, now: datetime) -> "LicenseView":
        """After an answer.

        A report without an authentic license, be its file missing or forged, is Failed and says nothing of billing:
        live sessions go on under the terms they began under.
        """
        terms = self.terms if report.billing is None else Terms(report.billing, report.max_sessions, report.models)
        return replace(self, told=Told(report.state, report.trust_expiration, now, terms), reachable=True)

    def unreachable(self) -> "LicenseView":
        """After a poll without a usable answer."""
        return replace(self, reachable=False)

    @property
    def state(self) -> LicenseState | None:
        """The last state told."""
        return None if self.told is None else self.told.state

    @property
    def terms(self) -> Terms:
        """Those of the last authentic license told of."""
        return Terms() if self.told is None else self.told.terms

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
