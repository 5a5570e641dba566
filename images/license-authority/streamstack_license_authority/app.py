"""The HTTP application: every route over the same parts."""

from typing import Final

from fastapi import FastAPI

from streamstack_license_authority.api import checkins, errors, health, imports, journals, licenses, usage
from streamstack_license_authority.parts import Parts

API_VERSION: Final = "1"


def build_app(parts: Parts) -> FastAPI:
    """Return the application; nothing is opened before a request comes."""
    app = FastAPI(
        title="Streamstack license authority",
        version=API_VERSION,
        description="Issues licenses, answers check-ins of license proxies and keeps the ledger of usage.",
        docs_url=None,
        redoc_url=None,
    )
    errors.attach(app)
    for module in (health, licenses, checkins, journals, imports, usage):
        app.include_router(module.router(parts))
    return app
