"""Plain HTTP on the client port: health, and temporary tokens (protocol reference 1, 2.1)."""

from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

import orjson
from pydantic import ValidationError
from websockets.datastructures import Headers
from websockets.http11 import Response

from streamstack_gateway import errors
from streamstack_gateway.dialects.v3.authorization import accepts_self_hosted
from streamstack_gateway.dialects.v3.target import parameters
from streamstack_gateway.tokens import TokenRequest, Tokens

HEALTH_PATH: Final = "/v3/ws/health"
TOKEN_PATH: Final = "/v3/token"  # noqa: S105  # a path


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP response; the connection ends with it."""

    status: HTTPStatus
    body: bytes
    content_type: str = "text/plain; charset=utf-8"

    def response(self) -> Response:
        """As `websockets` sends it."""
        headers = Headers(
            {
                "Connection": "close",
                "Cache-Control": "no-store",
                "Content-Length": str(len(self.body)),
                "Content-Type": self.content_type,
            }
        )
        return Response(self.status.value, self.status.phrase, headers, self.body)


def health(unready: str | None) -> Answer:
    """200 when sessions can be served, else 503 and why not."""
    if unready is None:
        return Answer(HTTPStatus.OK, b"ok\n")
    return Answer(HTTPStatus.SERVICE_UNAVAILABLE, f"{unready}\n".encode())


def token(header: str | None, target: str, tokens: Tokens | None, now_seconds: float) -> Answer:
    """A temporary token for a caller with the fixed word.

    200; 401 without the word, 422 for wrong values, 404 where tokens are off.
    """
    if tokens is None:
        return _json(HTTPStatus.NOT_FOUND, {"detail": "temporary tokens are off: TOKEN_KEY_FILE is not set"})
    word = (header or "").strip()
    if not accepts_self_hosted(word.removeprefix("Bearer ")):
        return _json(HTTPStatus.UNAUTHORIZED, {"detail": "expected 'Authorization: self-hosted'"})
    try:
        query = {name: values[-1] for name, values in parameters(target).items()}
        request = TokenRequest.model_validate(query)
    except errors.SessionError as error:
        return _json(HTTPStatus.UNPROCESSABLE_ENTITY, {"detail": error.message})
    except ValidationError as error:
        detail = [
            {"type": problem["type"], "loc": ["query", *problem["loc"]], "msg": problem["msg"]}
            for problem in error.errors(include_input=False, include_url=False)
        ]
        return _json(HTTPStatus.UNPROCESSABLE_ENTITY, {"detail": detail})
    issued = tokens.issue(request, int(now_seconds))
    return _json(HTTPStatus.OK, {"token": issued, "expires_in_seconds": request.expires_in_seconds})


def _json(status: HTTPStatus, body: object) -> Answer:
    return Answer(status, orjson.dumps(body), "application/json")
