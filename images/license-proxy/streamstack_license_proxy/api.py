"""What the proxy's port answers: ``/health``, ``/v1/status``, ``/v1/license`` and metrics."""

import math

from aiohttp import web
from prometheus_client import CollectorRegistry, Gauge
from pydantic import BaseModel

from streamstack_common.internal_http import InternalHttp
from streamstack_common.license_status import LICENSE_PATH, STATUS_PATH, LicenseReport
from streamstack_license_proxy.state import Standing
from streamstack_license_proxy.watch import LicenseWatch

HEALTH_PATH = "/health"
"""Open without a credential: the seed's Compose file probes it with curl."""


def report_of(standing: Standing) -> LicenseReport:
    """Report a standing."""
    facts: dict[str, object] = standing.status(extra_keys=False).model_dump()
    if standing.license is not None:
        facts |= standing.license.model_dump(include={"customer", "license_id", "billing", "max_sessions", "models"})
        facts |= standing.license.model_dump(include={"trust_window_seconds", "offline"})
        facts |= {"valid_from": standing.license.valid_from, "expires_at": standing.license.expires_at}
    if standing.failure is not None:
        facts |= {"cause": standing.failure.cause, "reason": str(standing.failure)}
    return LicenseReport.model_validate(facts)


class LicenseApi:
    """Handlers over a watch."""

    def __init__(self, watch: LicenseWatch, *, extra_keys: bool) -> None:
        self._watch = watch
        self._extra_keys = extra_keys

    def attach(self, http: InternalHttp) -> None:
        """Serve on a port, which has to leave :data:`HEALTH_PATH` open."""
        http.get(HEALTH_PATH, self._health)
        http.get(STATUS_PATH, self._status)
        http.get(LICENSE_PATH, self._license)

    async def _health(self, _request: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def _status(self, _request: web.Request) -> web.Response:
        return _json(self._watch.standing().status(extra_keys=self._extra_keys))

    async def _license(self, _request: web.Request) -> web.Response:
        return _json(report_of(self._watch.standing()))


def _json(body: BaseModel) -> web.Response:
    return web.Response(text=body.model_dump_json(), content_type="application/json")


def register_metrics(registry: CollectorRegistry, watch: LicenseWatch, *, extra_keys: bool) -> None:
    """Gauges that are judged when they are scraped."""

    def valid() -> float:
        return float(watch.standing().failure is None)

    def expiry() -> float:
        license_ = watch.standing().license
        return float(license_.exp) if license_ else math.nan

    Gauge("streamstack_license_valid", "1 while the license is valid", registry=registry).set_function(valid)
    Gauge(
        "streamstack_license_expiry_timestamp_seconds",
        "Unix time at which the license expires; NaN without an authentic one",
        registry=registry,
    ).set_function(expiry)
    Gauge("streamstack_license_extra_keys", "1 where keys beside the vendor's are accepted", registry=registry).set(
        float(extra_keys)
    )
