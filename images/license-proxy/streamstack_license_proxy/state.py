"""The proxy's standing: from the license file's last reading, what is remembered of check-ins, and the time.

No I/O and no clock. Nothing here ever ends a session: Failed is a word to gateways, and what they do is admit none.
"""

from dataclasses import dataclass
from datetime import datetime

from streamstack_common.license import License, LicenseError
from streamstack_common.license_status import LicenseState, LicenseStatus
from streamstack_license_proxy.trust import Moment, Trust

Reading = License | LicenseError
"""The license file: authentic, or why not."""


class RevokedError(LicenseError):
    """The authority took it back."""

    cause = "revoked"


class TrustExpiredError(LicenseError):
    """The last good check-in is longer ago than the license's trust window."""

    cause = "trust_expired"


class NeverConfirmedError(LicenseError):
    """No check-in was good within the trust window since the license was first seen."""

    cause = "never_confirmed"


@dataclass(frozen=True, slots=True)
class Standing:
    """What the proxy answers at one moment.

    ``license`` is there whenever it is authentic, valid now or not; ``failure`` says why the state is Failed. Both
    times are the authority's clock, None before the first good check-in of this license.
    """

    state: LicenseState
    license: License | None
    failure: LicenseError | None = None
    last_good: datetime | None = None
    trusted_until: datetime | None = None

    def status(self, *, extra_keys: bool) -> LicenseStatus:
        """Body of ``/v1/status``."""
        return LicenseStatus(
            state=self.state,
            last_successful_checkin=self.last_good,
            trust_expiration=self.trusted_until,
            extra_keys=extra_keys,
        )


def standing(reading: Reading, trust: Trust | None, now: Moment, *, answer_holds_seconds: float) -> Standing:
    """Judge a reading.

    Args:
        reading: of the license file.
        trust: what is remembered of this license; None before it was ever seen.
        now: by every clock.
        answer_holds_seconds: how long a good answer holds while none is missing. A trust window counts from a good
            check-in, too; one that is shorter than the pause between two check-ins would end in it.

    """
    if isinstance(reading, LicenseError):
        return Standing(LicenseState.FAILED, None, reading)
    if reading.offline or trust is None:
        return _judged(reading, LicenseState.READY, None, date=now.wall)
    date = trust.date(now)
    verdict = _verdict(reading, trust, now, answer_holds_seconds)
    if isinstance(verdict, LicenseState):
        return _judged(reading, verdict, trust, date=date)
    return _failed(reading, trust, verdict)


def _verdict(license_: License, trust: Trust, now: Moment, answer_holds_seconds: float) -> LicenseState | LicenseError:
    """What check-ins say of a license."""
    window = license_.trust_window_seconds
    if trust.revoked:
        return RevokedError(f"license {license_.license_id} was revoked by the license authority")
    if trust.last_good is None:
        if trust.left_seconds(window, now) > 0:
            return LicenseState.READY
        return NeverConfirmedError(f"no check-in was good in {window} s; expected one within them")
    if not trust.last_failed and trust.left_seconds(max(window, answer_holds_seconds), now) > 0:
        return LicenseState.CONNECTED
    if trust.left_seconds(window, now) > 0:
        return LicenseState.TRUST_BASED
    return TrustExpiredError(f"the last good check-in is trusted for {window} s, and they are over")


def _judged(license_: License, state: LicenseState, trust: Trust | None, *, date: datetime) -> Standing:
    """A license's own dates come first: they are in it whoever answers."""
    try:
        license_.check(date)
    except LicenseError as failure:
        return _failed(license_, trust, failure)
    if trust is None:
        return Standing(state, license_)
    return Standing(state, license_, None, trust.last_good, trust.trusted_until(license_.trust_window_seconds))


def _failed(license_: License, trust: Trust | None, failure: LicenseError) -> Standing:
    if trust is None:
        return Standing(LicenseState.FAILED, license_, failure)
    until = trust.trusted_until(license_.trust_window_seconds)
    return Standing(LicenseState.FAILED, license_, failure, trust.last_good, until)
