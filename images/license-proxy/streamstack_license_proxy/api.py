"""What the proxy's port answers of the license: ``/health``, ``/v1/status`` and ``/v1/license``."""

from aiohttp import web
from pydantic import BaseModel

from streamstack_common.internal_http import InternalHttp
from streamstack_common.license_status import LICENSE_PATH, STATUS_PATH, LicenseReport
from streamstack_license_proxy.keeper import LicenseKeeper
from streamstack_license_proxy.state import Standing

HEALTH_PATH = "/health"
"""Open without a credential: the seed's Compose file probes it with curl."""


def report_of(standing: Standing, *, problem: str | None) -> LicenseReport:
    """Report a standing.

    Args:
        standing: of now.
        problem: why the last check-in was not good; the reason where nothing worse is.

    """
    facts: dict[str, object] = standing.status(extra_keys=False).model_dump()
    if standing.license is not None:
        facts |= standing.license.model_dump(include={"customer", "license_id", "billing", "max_sessions", "models"})
        facts |= standing.license.model_dump(include={"trust_window_seconds", "offline"})
        facts |= {"valid_from": standing.license.valid_from, "expires_at": standing.license.expires_at}
    if standing.failure is not None:
        facts |= {"cause": standing.failure.cause, "reason": str(standing.failure)}
    elif problem is not None:
        facts |= {"cause": "checkin_failed", "reason": f"the last check-in failed: {problem}"}
    return LicenseReport.model_validate(facts)


class LicenseApi:
    """Handlers over a keeper."""

    def __init__(self, keeper: LicenseKeeper, *, extra_keys: bool) -> None:
        self._keeper = keeper
        self._extra_keys = extra_keys

    def attach(self, http: InternalHttp) -> None:
        """Serve on a port, which has to leave :data:`HEALTH_PATH` open."""
        http.get(HEALTH_PATH, self._health)
        http.get(STATUS_PATH, self._status)
        http.get(LICENSE_PATH, self._license)

    async def _health(self, _request: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def _status(self, _request: web.Request) -> web.Response:
        return _json(self._keeper.standing().status(extra_keys=self._extra_keys))

    async def _license(self, _request: web.Request) -> web.Response:
        return _json(report_of(self._keeper.standing(), problem=self._keeper.problem))


def _json(body: BaseModel) -> web.Response:
    return web.Response(text=body.model_dump_json(), content_type="application/json")
