import gzip
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from prometheus_client import CollectorRegistry

from streamstack_common.credential import Credential
from streamstack_common.internal_http import InternalHttp, base_url
from streamstack_common.license_status import Billing
from streamstack_common.usage import MAX_USAGE_BYTES, UsageReceipt
from streamstack_common.usage_export import read_export
from streamstack_license_proxy.journal import errors
from streamstack_license_proxy.journal.metrics import register_metrics
from streamstack_license_proxy.journal.usage_journal import UsageJournal
from streamstack_license_proxy.usage_api import UsageApi
from support.journals import Clock, chained_bodies, entries, entry, report
from support.service import TOKEN, write_credential
from support.signer import Signer

SIGNER = Signer()
BEARER = {"Authorization": f"Bearer {TOKEN}"}


@dataclass
class Proxy:
    journal: UsageJournal
    registry: CollectorRegistry
    clock: Clock
    client: aiohttp.ClientSession
    url: str = ""
    billing: Billing | None = "usage"
    token: str | None = field(default_factory=lambda: SIGNER.token().decode())

    async def call(self, path: str, **options: Any) -> tuple[int, Any]:
        """Status and body of a call; a POST where it has a body."""
        method = "POST" if options.keys() & {"data", "json"} else "GET"
        async with self.client.request(method, self.url + path, **options) as response:
            is_json = response.content_type == "application/json"
            return response.status, await (response.json() if is_json else response.read())

    async def report(self, *reports: Any) -> tuple[int, Any]:
        bodies = [json.loads(each.model_dump_json()) if hasattr(each, "model_dump_json") else each for each in reports]
        return await self.call("/v1/usage", json={"reports": bodies})

    def metric(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(name, labels)


@asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[Proxy]:
    clock, registry = Clock(), CollectorRegistry()
    journal = UsageJournal.open(folder, now_ms=clock)
    register_metrics(registry, journal)
    http = InternalHttp(
        credential=Credential(write_credential(folder)),
        registry=registry,
        ready=lambda: None,
        max_body_bytes=MAX_USAGE_BYTES,
    )
    async with aiohttp.ClientSession(headers=BEARER, timeout=aiohttp.ClientTimeout(total=60)) as client:
        proxy = Proxy(journal, registry, clock, client)
        UsageApi(
            journal,
            registry,
            billing=lambda: proxy.billing,
            license_token=lambda: proxy.token,
            keyring=SIGNER.keyring(),
        ).attach(http)
        proxy.url = base_url("127.0.0.1", await http.start("127.0.0.1", 0))
        try:
            yield proxy
        finally:
            await http.stop()
            await journal.close()


def receipt(journal_id: str, through: int, *, signer: Signer = SIGNER, **changes: Any) -> bytes:
    claims = {"aud": "streamstack-receipt", "sub": journal_id, "through": through, "iat": int(time.time()), **changes}
    return signer.sign({name: value for name, value in claims.items() if value is not None})


async def test_everything_wants_the_credential(tmp_path: Path) -> None:
    async with serving(tmp_path) as proxy, aiohttp.ClientSession() as stranger:
        for method, path in (
            ("POST", "/v1/usage"),
            ("GET", "/v1/usage/backlog"),
            ("GET", "/v1/usage/export"),
            ("POST", "/v1/usage/receipts"),
        ):
            async with stranger.request(method, proxy.url + path, data=b"{}") as response:
                assert response.status == 401


async def test_a_batch_is_acknowledged_and_on_disk(tmp_path: Path) -> None:
    async with serving(tmp_path) as proxy:
        assert await proxy.report(report(), report("session-1")) == (200, {"rejected": []})
        assert await proxy.report(report()) == (200, {"rejected": []})
        assert chained_bodies(tmp_path) == [entry().body, entry("session-1").body]
        assert proxy.metric("streamstack_usage_reports_total", result="recorded") == 2
        assert proxy.metric("streamstack_usage_reports_total", result="duplicate") == 1
        assert proxy.metric("streamstack_usage_records_total") == 2


async def test_each_report_is_judged_for_itself(tmp_path: Path) -> None:
    async with serving(tmp_path) as proxy:
        await proxy.report(report("session-1"))
        private = "something of somebody"
        status, body = await proxy.report(
            report(), {"session_id": private}, None, report("session-1", audio_ms=7), report("session-2")
        )
        assert status == 200
        rejected = UsageReceipt.model_validate(body).rejected
        assert [each.index for each in rejected] == [1, 2, 3]
        assert "sequence 1: another report of this session has it" in rejected[2].reason
        assert private not in json.dumps(body)
        assert len(chained_bodies(tmp_path)) == 3
        assert proxy.metric("streamstack_usage_reports_total", result="rejected") == 3
        assert proxy.metric("streamstack_usage_reports_total", result="duplicate") == 0


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"{}", b'{"reports":[]}', b'{"reports":{}}', b'{"reports":[' + b"1," * 200 + b"1]}"]
)
async def test_what_is_no_batch_is_refused_whole(tmp_path: Path, body: bytes) -> None:
    async with serving(tmp_path) as proxy:
        status, answer = await proxy.call("/v1/usage", data=body)
        assert status == 422
        assert answer["error"].startswith("expected a batch of reports: ")
        assert chained_bodies(tmp_path) == []


async def test_the_size_of_a_batch_is_bounded(tmp_path: Path) -> None:
    text = "\x01" * 128
    longest = [report(f"{number:064d}", model=text, tenant=text, outcome=text) for number in range(200)]
    async with serving(tmp_path) as proxy:
        body = json.dumps({"reports": [json.loads(each.model_dump_json()) for each in longest]}).encode()
        assert len(body) <= MAX_USAGE_BYTES
        assert await proxy.call("/v1/usage", data=body) == (200, {"rejected": []})
        status, answer = await proxy.call("/v1/usage", data=b" " * (MAX_USAGE_BYTES + 1))
        assert status == 413
        assert str(MAX_USAGE_BYTES) in answer["error"]


async def test_flat_billing_keeps_nothing(tmp_path: Path) -> None:
    async with serving(tmp_path) as proxy:
        proxy.billing = "flat"
        assert await proxy.report(report()) == (200, {"rejected": []})
        assert chained_bodies(tmp_path) == []
        empty = {"journal_id": None, "records": 0, "oldest_seconds": None}
        assert await proxy.call("/v1/usage/backlog") == (200, empty)
        assert proxy.metric("streamstack_usage_reports_total", result="not_billed") == 1


async def test_without_an_authentic_license_usage_is_kept(tmp_path: Path) -> None:
    async with serving(tmp_path) as proxy:
        proxy.billing = None
        assert (await proxy.report(report()))[0] == 200
        assert len(chained_bodies(tmp_path)) == 1


async def test_what_an_earlier_license_left_shows_under_a_flat_one(tmp_path: Path) -> None:
    async with serving(tmp_path) as proxy:
        await proxy.report(report())
        proxy.billing = "flat"
        assert (await proxy.call("/v1/usage/backlog"))[1]["records"] == 1


@pytest.mark.parametrize(
    ("problem", "status", "result"),
    [
        (errors.JournalFullError("full"), 507, "full"),
        (errors.JournalOverloadedError("too many"), 503, "overloaded"),
        (errors.JournalClosedError("closed"), 503, "failed"),
        (errors.JournalError("broken"), 503, "failed"),
    ],
)
async def test_what_is_not_on_disk_is_not_acknowledged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, problem: Exception, status: int, result: str
) -> None:
    async def refuse(*_arguments: object) -> None:
        raise problem

    async with serving(tmp_path) as proxy:
        monkeypatch.setattr(UsageJournal, "take", refuse)
        assert await proxy.report(report(), report("session-1")) == (status, {"error": str(problem)})
        assert proxy.metric("streamstack_usage_reports_total", result=result) == 2


async def test_the_backlog_and_the_metrics_say_what_waits(tmp_path: Path) -> None:
    async with serving(tmp_path) as proxy:
        await proxy.report(report())
        proxy.clock.now_ms += 9000
        status, backlog = await proxy.call("/v1/usage/backlog")
        assert (status, backlog["records"], backlog["oldest_seconds"]) == (200, 1, 9.0)
        assert backlog["journal_id"] == proxy.journal.position.journal_id
        assert proxy.metric("streamstack_usage_backlog_records") == 1
        assert proxy.metric("streamstack_usage_backlog_oldest_seconds") == 9
        assert proxy.metric("streamstack_usage_disk_full") == 0
        assert proxy.metric("streamstack_usage_journal_damaged_total") == 0
        assert proxy.metric("streamstack_usage_journal_bytes") > 4096  # type: ignore[operator]


async def test_an_export_is_a_signed_file_with_the_license(tmp_path: Path) -> None:
    async with serving(tmp_path) as proxy:
        await proxy.journal.take(entries(30))
        status, packed = await proxy.call("/v1/usage/export")
        assert status == 200
        export = read_export(gzip.decompress(packed).splitlines(keepends=True))
        assert (export.first, len(export.bodies), export.license) == (1, 30, proxy.token)
        _, packed = await proxy.call("/v1/usage/export", params={"after": "10", "limit": "5"})
        export = read_export(gzip.decompress(packed).splitlines(keepends=True))
        assert (export.first, len(export.bodies)) == (11, 5)


@pytest.mark.parametrize(
    "query", [{"after": "x"}, {"after": "-1"}, {"limit": "0"}, {"limit": "200001"}, {"limit": "1e3"}, {"after": "٣"}]
)
async def test_an_export_of_no_such_records_is_refused(tmp_path: Path, query: dict[str, str]) -> None:
    async with serving(tmp_path) as proxy:
        status, answer = await proxy.call("/v1/usage/export", params=query)
        assert status == 422
        assert "expected a whole number" in answer["error"]
        assert (await proxy.call("/v1/usage/export", params={"after": "1"}))[0] == 409
        proxy.token = None
        assert (await proxy.call("/v1/usage/export"))[0] == 409


async def test_a_receipt_takes_records_out_of_the_backlog(tmp_path: Path) -> None:
    async with serving(tmp_path) as proxy:
        await proxy.journal.take(entries(30))
        journal_id = proxy.journal.position.journal_id
        status, backlog = await proxy.call("/v1/usage/receipts", data=receipt(journal_id, 20) + b"\n")
        assert (status, backlog["records"]) == (200, 10)
        status, backlog = await proxy.call("/v1/usage/receipts", data=receipt(journal_id, 5))
        assert (status, backlog["records"]) == (200, 10)
        _, packed = await proxy.call("/v1/usage/export")
        assert read_export(gzip.decompress(packed).splitlines(keepends=True)).first == 21


async def test_what_is_no_receipt_of_the_authority_changes_nothing(tmp_path: Path) -> None:
    async with serving(tmp_path) as proxy:
        await proxy.journal.take(entries(3))
        own = proxy.journal.position.journal_id
        for token, status in (
            (b"", 422),
            (b"\xff", 422),
            (b"a.b.c", 422),
            (receipt(own, 3, signer=Signer("another")), 422),
            (receipt(own, 3, signer=Signer(SIGNER.kid)), 422),
            (receipt(own, 3, aud="streamstack"), 422),
            (receipt(own, 3, aud=None), 422),
            (receipt(own, -1), 422),
            (SIGNER.sign({"aud": "streamstack-receipt", "sub": own, "through": "3"}), 422),
            (receipt("x", 3), 422),
            (receipt("0" * 32, 3), 409),
            (b"x" * (64 * 1024 + 1), 413),
            (b"x" * (MAX_USAGE_BYTES + 1), 413),
        ):
            answer = await proxy.call("/v1/usage/receipts", data=token)
            assert (answer[0], list(answer[1])) == (status, ["error"])
        assert proxy.journal.position.acknowledged == 0
        assert proxy.journal.position.journal_id == own


async def test_a_receipt_for_more_than_there_is_starts_a_new_journal(tmp_path: Path) -> None:
    async with serving(tmp_path) as proxy:
        await proxy.journal.take(entries(3))
        own = proxy.journal.position.journal_id
        status, answer = await proxy.call("/v1/usage/receipts", data=receipt(own, 4))
        assert status == 409
        assert "it is for 4 records, this journal has 3" in answer["error"]
        assert proxy.journal.position.journal_id != own
        assert chained_bodies(tmp_path) == [each.body for each in entries(3)]
