"""Says every change of the license's state: once in the log, once in a counter."""

import logging

from prometheus_client import CollectorRegistry, Counter

from streamstack_common.license_status import LicenseState, format_timestamp
from streamstack_license_proxy.state import Standing

log = logging.getLogger(__name__)

_LEVELS = {LicenseState.FAILED: logging.ERROR, LicenseState.TRUST_BASED: logging.WARNING}


class Transitions:
    """Compares each standing with the one before."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._before: tuple[LicenseState, str | None, bytes | None] | None = None
        self._count = Counter(
            "streamstack_license_transitions", "Changes of the license's state", ["from", "to"], registry=registry
        )

    def note(self, standing: Standing, *, content: bytes | None, problem: str | None) -> None:
        """Take a standing; a new cause or another file is logged too, but is no transition of state.

        Args:
            standing: of now.
            content: of the license file; never logged.
            problem: why the last check-in was not good.

        """
        cause = standing.failure.cause if standing.failure is not None else None
        seen = (standing.state, cause, content)
        if seen == self._before:
            return
        before = self._before[0] if self._before is not None else None
        self._before = seen
        if before is not None and before is not standing.state:
            self._count.labels(**{"from": before, "to": standing.state}).inc()
        level = _LEVELS.get(standing.state, logging.INFO)
        log.log(level, "license %s -> %s%s", before or "unknown", standing.state, _details(standing, problem))


def _details(standing: Standing, problem: str | None) -> str:
    if standing.failure is not None:
        also = "" if problem is None else f" (last check-in: {problem})"
        return f" ({standing.failure.cause}): {standing.failure}{also}"
    license_ = standing.license
    if license_ is None:
        return ""
    text = (
        f": license {license_.license_id} of {license_.customer}, billing {license_.billing}, "
        f"until {license_.expires_at.isoformat()}"
    )
    if standing.state is LicenseState.TRUST_BASED and standing.trusted_until is not None:
        text += f"; trusted until {format_timestamp(standing.trusted_until)}, last check-in: {problem or 'failed'}"
    return text
