"""Bodies of requests, read within bounds: after the caller has proved who it is, and never for longer than allowed."""

import asyncio
from typing import Any, Final, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect

from streamstack_license_authority.api.errors import ApiError, malformed

BODY_SECONDS: Final = 60
"""For all of a body, unless its route gives it longer."""

Model = TypeVar("Model", bound=BaseModel)


async def read_body(request: Request, *, limit: int, seconds: float = BODY_SECONDS) -> bytes:
    """Return a body of at most ``limit`` bytes, all of which has to come within ``seconds``.

    Raises:
        ApiError: 413 or 408; 400, which nobody hears, where the caller hung up.

    """
    # The server holds a body to its declared length; one without (chunked) is counted.
    too_large = ApiError(413, f"body: expected at most {limit} bytes")
    if int(request.headers.get("content-length", "0")) > limit:
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(seconds):
            async for piece in request.stream():
                body += piece
                if len(body) > limit:
                    raise too_large
    except TimeoutError as error:
        raise ApiError(408, f"body: expected all of it within {seconds:g} seconds") from error
    except ClientDisconnect as error:
        raise ApiError(400, "body: expected all of it; the caller hung up") from error
    return bytes(body)


async def read_model(request: Request, model: type[Model], *, limit: int) -> Model:
    """Return a body parsed as JSON.

    Raises:
        ApiError: 408, 413 or 422.

    """
    return parse_model(await read_body(request, limit=limit), model)


def parse_model(body: bytes, model: type[Model]) -> Model:
    """Return JSON as what it must be.

    Raises:
        ApiError: 422.

    """
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        raise malformed(error) from None


def takes(model: type[BaseModel]) -> dict[str, Any]:
    """Return OpenAPI's description of a JSON body."""
    schema = model.model_json_schema(ref_template="#/$defs/{model}")
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}
