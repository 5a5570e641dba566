"""``GET /sessions``, ``POST /retire`` and ``POST /resume`` on an internal port, for gateways and ASR servers alike."""

from collections.abc import Callable

from aiohttp import web
from pydantic import ValidationError

from streamstack_common.internal_http import InternalHttp
from streamstack_common.retirement import Retirement, StaleGenerationError
from streamstack_common.sessions_report import GenerationRequest, SessionsReport


def add_session_routes(
    http: InternalHttp,
    *,
    retirement: Retirement,
    report: Callable[[], SessionsReport],
    changed: Callable[[], None],
) -> None:
    """Serve the routes; ``changed`` is called after a retire or resume that changed something.

    Both answer 200 with the report of the state reached, 400 for a body that is not ``{"generation": n}``, 409 with
    the present report for a generation older than the last one obeyed.
    """

    async def sessions(_request: web.Request) -> web.Response:
        return _json(report())

    async def retire(request: web.Request) -> web.Response:
        return await _move(request, retirement.retire)

    async def resume(request: web.Request) -> web.Response:
        return await _move(request, retirement.resume)

    async def _move(request: web.Request, move: Callable[[int], bool]) -> web.Response:
        try:
            wanted = GenerationRequest.model_validate_json(await request.read())
        except ValidationError as error:
            problem = error.errors(include_input=False, include_url=False)[0]["msg"]
            return web.json_response({"error": f'expected {{"generation": <integer from 0>}}: {problem}'}, status=400)
        try:
            is_news = move(wanted.generation)
        except StaleGenerationError:
            return _json(report(), status=409)
        if is_news:
            changed()
        return _json(report())

    http.get("/sessions", sessions)
    http.post("/retire", retire)
    http.post("/resume", resume)


def _json(report: SessionsReport, *, status: int = 200) -> web.Response:
    return web.json_response(text=report.model_dump_json(), status=status)
