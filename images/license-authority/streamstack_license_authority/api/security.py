"""Who may call: administrators by their credential, customers by an API key."""

from typing import Annotated, Any

from fastapi import Depends, Request
from fastapi.security import HTTPBearer

from streamstack_license_authority.api.errors import ApiError
from streamstack_license_authority.api_keys import parse_bearer
from streamstack_license_authority.ledger.licenses import customer_of
from streamstack_license_authority.parts import Parts

ADMIN = HTTPBearer(scheme_name="administrator", description="a line of the credential file", auto_error=False)
CUSTOMER = HTTPBearer(scheme_name="customer", description="the API key that came with a license", auto_error=False)


def admin_only(parts: Parts) -> Any:
    """Return the dependency of a route that only administrators may call."""

    async def check(request: Request, _shown: Annotated[object, Depends(ADMIN)]) -> None:
        if not parts.is_admin(request.headers.get("authorization")):
            raise ApiError(401, "expected 'Authorization: Bearer <the administrators' credential>'")

    return Depends(check)


async def caller(request: Request, parts: Parts) -> str | None:
    """Return the customer whose API key a request carries, None without a good one."""
    key = parse_bearer(request.headers.get("authorization"))
    if key is None:
        return None

    def find() -> str | None:
        with parts.database.reading() as connection:
            return customer_of(connection, key)

    return await parts.database.run(find)
