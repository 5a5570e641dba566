"""Probes, public keys and metrics."""

from typing import Any

from fastapi import APIRouter, Response
from fastapi.responses import PlainTextResponse
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from streamstack_license_authority.api.errors import ApiError, describe_beside_text
from streamstack_license_authority.api.security import admin_only
from streamstack_license_authority.ledger.database import UNREACHABLE
from streamstack_license_authority.ledger.sessions import count_open
from streamstack_license_authority.parts import Parts


def router(parts: Parts) -> APIRouter:
    """Return routes that need nothing but ``/metrics`` does."""
    routes = APIRouter(tags=["operation"])

    @routes.get("/healthz", response_class=PlainTextResponse)
    async def alive() -> str:
        """Tell that the process serves."""
        return "ok\n"

    @routes.get("/readyz", response_class=PlainTextResponse, responses=describe_beside_text(503))
    async def ready() -> str:
        """Tell that the ledger answers, too."""
        try:
            await parts.database.run(parts.database.probe)
        except UNREACHABLE as error:
            raise ApiError(503, "the ledger does not answer") from error
        return "ok\n"

    @routes.get("/v1/keys")
    async def keys() -> dict[str, Any]:
        """Return the public keys that sign licenses and answers, a JWKS (RFC 7517)."""
        return dict(parts.keys.jwks)

    @routes.get(
        "/metrics", response_class=Response, dependencies=[admin_only(parts)], responses=describe_beside_text(401, 503)
    )
    async def metrics() -> Response:
        """Return metrics for Prometheus."""

        def count() -> int:
            with parts.database.reading() as connection:
                return count_open(connection)

        parts.metrics.open_sessions.set(await parts.database.run(count))
        return Response(generate_latest(parts.metrics.registry), media_type=CONTENT_TYPE_LATEST)

    return routes
