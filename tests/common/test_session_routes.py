"""``/sessions``, ``/retire`` and ``/resume`` as both kinds of pod serve them, over a real port."""

import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from prometheus_client import CollectorRegistry

from streamstack_common.credential import Credential
from streamstack_common.internal_http import InternalHttp, base_url
from streamstack_common.retirement import Admission, Retirement
from streamstack_common.session_routes import add_session_routes
from streamstack_common.sessions_report import PoolSessions, SessionsReport

TOKEN = secrets.token_hex(16)


@dataclass
class Pod:
    url: str = ""
    retirement: Retirement = field(default_factory=Retirement)
    changes: list[bool] = field(default_factory=list)

    def report(self) -> SessionsReport:
        return SessionsReport(
            instance_id="i1",
            revision="r1",
            admission=Admission.OPEN if self.retirement.accepting else Admission.RETIRED,
            generation=self.retirement.generation,
            sessions=1,
            oldest_started_at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
            capacity=2,
            max_sessions=8,
            pools={"english": PoolSessions(in_use=1, waiting=0, refused_total=3)},
        )

    async def ask(self, path: str, *, method: str = "POST", body: bytes = b"") -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        async with (
            aiohttp.ClientSession() as client,
            client.request(method, self.url + path, data=body, headers=headers) as response,
        ):
            return response.status, await response.json()


@pytest.fixture
async def pod(tmp_path: Path) -> AsyncIterator[Pod]:
    path = tmp_path / "credential"
    path.write_text(TOKEN)
    http = InternalHttp(credential=Credential(path), registry=CollectorRegistry(), ready=lambda: None)
    it = Pod()
    add_session_routes(
        http,
        retirement=it.retirement,
        report=it.report,
        changed=lambda: it.changes.append(it.retirement.retired),
    )
    it.url = base_url("127.0.0.1", await http.start("127.0.0.1", 0))
    yield it
    await http.stop()


async def test_sessions_answers_the_report_with_times_in_utc(pod: Pod) -> None:
    assert await pod.ask("/sessions", method="GET") == (
        200,
        {
            "schema_version": 1,
            "instance_id": "i1",
            "revision": "r1",
            "admission": "open",
            "generation": 0,
            "sessions": 1,
            "oldest_started_at": "2026-01-02T03:04:05Z",
            "capacity": 2,
            "max_sessions": 8,
            "pools": {"english": {"in_use": 1, "waiting": 0, "refused_total": 3}},
        },
    )


async def test_only_what_changes_something_is_told_to_the_service(pod: Pod) -> None:
    for path, generation, status, admission in (
        ("/resume", 0, 200, "open"),
        ("/retire", 5, 200, "retired"),
        ("/retire", 6, 200, "retired"),
        ("/resume", 4, 409, "retired"),
        ("/resume", 6, 200, "open"),
    ):
        answer = await pod.ask(path, body=b'{"generation": %d}' % generation)
        assert (answer[0], answer[1]["admission"]) == (status, admission)
    assert pod.changes == [True, False]
    assert pod.retirement.generation == 6


@pytest.mark.parametrize(
    "body", [b"", b"{", b"{}", b"[7]", b"null", b'{"generation": "7"}', b'{"generation": 7.0}', b'{"generation": true}',
             b'{"generation": -1}', b"\xff"],
)  # fmt: skip
@pytest.mark.parametrize("path", ["/retire", "/resume"])
async def test_a_body_without_an_integer_generation_is_refused_and_says_what_was_expected(
    pod: Pod, path: str, body: bytes
) -> None:
    status, answer = await pod.ask(path, body=body)
    assert status == 400
    assert answer["error"].startswith('expected {"generation": <integer from 0>}: ')
    assert (pod.retirement.generation, pod.changes) == (0, [])
