"""Every refusal is JSON with ``error``: what was wrong and what was expected."""

import logging
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from starlette.exceptions import HTTPException

from streamstack_license_authority.ledger.database import UNREACHABLE, reason_of

log = logging.getLogger(__name__)


class Problem(BaseModel):
    """Body of every refusal."""

    error: str


class ApiError(Exception):
    """A refusal; ``more`` are further members of its body."""

    def __init__(self, status: int, message: str, **more: Any) -> None:
        super().__init__(message)
        self.status = status
        self.more = more


def problems(errors: list[ErrorDetails]) -> str:
    """Say what a model found wrong, never repeating what was sent."""
    return "; ".join(f"{'.'.join(str(part) for part in error['loc']) or 'body'}: {error['msg']}" for error in errors)


def malformed(error: ValidationError) -> ApiError:
    """Refuse a body that is not what its path takes."""
    return ApiError(422, problems(error.errors(include_input=False, include_url=False, include_context=False)))


MEANINGS: Final = {
    400: "The request could not be read.",
    401: "The secret is missing or wrong.",
    403: "It belongs to another customer.",
    404: "There is none.",
    408: "The body did not come in time.",
    409: "It is not in a state that allows this.",
    413: "Too large.",
    422: "Something in it is wrong; the message says what.",
    503: "The database is away; nothing was written.",
}


def describe(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return OpenAPI's answers for refusals with these statuses."""
    return {status: {"model": Problem, "description": MEANINGS[status]} for status in statuses}


def describe_beside_text(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the same for a route whose good answers are no JSON."""
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {status: {"description": MEANINGS[status], "content": content} for status in statuses}


def attach(app: FastAPI) -> None:
    """Answer every error in this form."""
    app.add_exception_handler(ApiError, _refused)
    app.add_exception_handler(RequestValidationError, _bad_parameters)
    app.add_exception_handler(HTTPException, _no_such_thing)
    app.add_exception_handler(Exception, _broken)
    for kind in UNREACHABLE:
        app.add_exception_handler(kind, _unreachable)


async def _refused(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, ApiError)  # noqa: S101 - registered for it alone
    headers = {"WWW-Authenticate": "Bearer"} if error.status == 401 else None
    return JSONResponse({"error": str(error), **error.more}, status_code=error.status, headers=headers)


async def _bad_parameters(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for it alone
    return JSONResponse({"error": problems(list(error.errors()))}, status_code=422)


async def _no_such_thing(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for it alone
    return JSONResponse({"error": error.detail}, status_code=error.status_code, headers=error.headers)


async def _broken(_request: Request, _error: Exception) -> JSONResponse:
    # The server logs it; whoever asked is told nothing of its inside.
    return JSONResponse({"error": "an error of the authority's own; expected to be reported"}, status_code=500)


async def _unreachable(request: Request, error: Exception) -> JSONResponse:
    log.warning("%s: the ledger cannot be used: %s", request.url.path, reason_of(error))
    return JSONResponse({"error": "the ledger cannot be used now; expected to be tried again later"}, status_code=503)
