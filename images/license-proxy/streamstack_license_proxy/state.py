"""The proxy's standing, from the license file's last reading and the time. No I/O and no clock.

Check-ins with the authority will join here as a third input; until then no timestamp is known.
"""

from dataclasses import dataclass
from datetime import datetime

from streamstack_common.license import License, LicenseError
from streamstack_common.license_status import LicenseState, LicenseStatus

Reading = License | LicenseError
"""The license file: authentic, or why not."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What the proxy answers at one moment.

    ``license`` is there whenever it is authentic, valid now or not; ``failure`` says why the state is Failed.
    """

    state: LicenseState
    license: License | None
    failure: LicenseError | None

    def status(self, *, extra_keys: bool) -> LicenseStatus:
        """Body of ``/v1/status``."""
        return LicenseStatus(
            state=self.state, last_successful_checkin=None, trust_expiration=None, extra_keys=extra_keys
        )


def standing(reading: Reading, now: datetime) -> Standing:
    """Judge a reading at ``now`` (aware)."""
    if isinstance(reading, LicenseError):
        return Standing(LicenseState.FAILED, None, reading)
    try:
        reading.check(now)
    except LicenseError as failure:
        return Standing(LicenseState.FAILED, reading, failure)
    return Standing(LicenseState.READY, reading, None)
