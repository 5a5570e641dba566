"""What this server adds to its internal port: ``/sessions``, ``/retire`` and ``/resume``."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from streamstack_asr.server.slots import Slots, StaleGenerationError
from streamstack_common.internal_http import InternalHttp

SCHEMA_VERSION: Final = 1


class GenerationRequest(BaseModel):
    """Body of ``/retire`` and ``/resume``."""

    model_config = ConfigDict(strict=True, extra="ignore")

    generation: int = Field(ge=0)


class Admin:
    """Handlers over the slots of one server.

    Args:
        slots: what is looked at and retired.
        instance_id: changes with every start.
        revision: the pod's, or empty.
        retired: called when the server was retired just now.

    """

    def __init__(self, *, slots: Slots, instance_id: str, revision: str, retired: Callable[[], None]) -> None:
        self._slots = slots
        self._instance_id = instance_id
        self._revision = revision
        self._retired = retired

    def attach(self, http: InternalHttp) -> None:
        """Serve the three paths."""
        http.get("/sessions", self._sessions)
        http.post("/retire", self._retire)
        http.post("/resume", self._resume)

    async def _sessions(self, _request: web.Request) -> web.Response:
        slots = self._slots
        oldest = slots.oldest_started_at
        pools = {
            name: {"in_use": pool.in_use, "waiting": 0, "refused_total": pool.refused_total}
            for name, pool in slots.pools.items()
        }
        return web.json_response(
            self._state()
            | {
                "revision": self._revision,
                "oldest_started_at": None if oldest is None else _rfc3339(oldest),
                "capacity": slots.total,
                "max_sessions": slots.total,
                "pools": pools,
            }
        )

    async def _retire(self, request: web.Request) -> web.Response:
        return await self._change(request, self._slots.retire, self._retired)

    async def _resume(self, request: web.Request) -> web.Response:
        return await self._change(request, self._slots.resume, None)

    async def _change(
        self, request: web.Request, change: Callable[[int], bool], then: Callable[[], None] | None
    ) -> web.Response:
        try:
            generation = GenerationRequest.model_validate_json(await request.read()).generation
        except ValidationError as error:
            problems = "; ".join(problem["msg"] for problem in error.errors(include_input=False, include_url=False))
            expected = 'expected a JSON object like {"generation": 1}'
            return web.json_response({"error": f"{problems}: {expected}"}, status=400)
        try:
            news = change(generation)
        except StaleGenerationError as error:
            return web.json_response(self._state() | {"error": str(error)}, status=409)
        if news and then is not None:
            then()
        return web.json_response(self._state())

    def _state(self) -> dict[str, Any]:
        return {
            "schema_version": SCHEMA_VERSION,
            "instance_id": self._instance_id,
            "admission": self._slots.admission,
            "generation": self._slots.generation,
            "sessions": self._slots.in_use,
        }


def _rfc3339(unix_seconds: float) -> str:
    return datetime.fromtimestamp(unix_seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
