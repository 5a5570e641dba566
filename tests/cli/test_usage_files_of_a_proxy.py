"""A stack without a network: usage out of a real license proxy, into a real authority, and the receipt back."""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import pytest_asyncio

from streamstack_cli import exit_codes
from streamstack_cli.http_api import Target
from streamstack_cli.usage_commands import export
from streamstack_common.usage import BACKLOG_PATH, USAGE_PATH
from support.authority_process import AuthorityProcess, authority_process
from support.cli import Ran, streamstack
from support.http_double import answering, serving
from support.license_process import LicenseProcess, license_process
from support.service import TOKEN, call
from support.usage_journal import report

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def authority(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[AuthorityProcess]:
    async with authority_process(tmp_path_factory.mktemp("authority")) as running:
        yield running


@dataclass
class AirGap:
    """A license proxy that has no way to its authority, and somebody who carries files."""

    authority: AuthorityProcess
    proxy: LicenseProcess
    folder: Path
    name: str = field(default_factory=lambda: secrets.token_hex(8))

    async def report(self, *numbers: int) -> None:
        """Have the proxy take the end of sessions of so many milliseconds, each named by its number."""
        reports = [report(f"{self.name}-{n}", audio_ms=n, outcome="client_terminated") for n in numbers]
        body = {"reports": [json.loads(one.model_dump_json()) for one in reports]}
        assert (await call(self.proxy.url + USAGE_PATH, token=TOKEN, method="POST", body=body))[0] == 200

    async def backlog(self) -> int:
        status, body = await self.proxy.get(BACKLOG_PATH)
        assert status == 200, body
        records: int = body["records"]
        return records

    async def billed(self) -> int:
        sessions = await self.authority.sessions("airgap")
        return sum(row["audio_ms"] for name, row in sessions.items() if name.startswith(self.name))

    async def export(self, name: str, *more: str) -> Ran:
        return await self.at_proxy("export", "--out", self.folder / name, *more)

    async def at_proxy(self, *arguments: str | Path) -> Ran:
        place = ("--proxy", self.proxy.url, "--credential-file", self.proxy.credential_file)
        return await streamstack("usage", *arguments, *place)

    async def take(self, *names: str) -> Ran:
        place = ("--authority", self.authority.url, "--credential-file", self.authority.credential_file)
        return await streamstack("usage", "import", *(self.folder / name for name in names), *place)


@pytest_asyncio.fixture(loop_scope="module")
async def gap(authority: AuthorityProcess, tmp_path: Path) -> AsyncIterator[AirGap]:
    license_file = (await authority.issue(customer="airgap", offline=True)).write(tmp_path)
    keys_file = tmp_path / "keys.json"
    keys_file.write_bytes(await authority.jwks())
    (tmp_path / "state").mkdir()
    async with license_process(
        tmp_path, license_file=license_file, keys_file=keys_file, STATE_DIR=str(tmp_path / "state")
    ) as proxy:
        yield AirGap(authority, proxy, tmp_path)


async def test_usage_is_carried_and_billed_and_the_proxy_told(gap: AirGap) -> None:
    await gap.report(1, 20, 300)
    exported = await gap.export("usage.jsonl.gz")
    assert (exported.status, exported.err) == (exit_codes.OK, "")
    assert "usage.jsonl.gz: records 1 to 3 of journal " in exported.out
    assert (await gap.backlog(), await gap.billed()) == (3, 0)
    assert (await gap.take("usage.jsonl.gz")).status == exit_codes.OK
    assert (await gap.backlog(), await gap.billed()) == (3, 321)
    receipt = await gap.at_proxy("receipt", gap.folder / "usage.jsonl.gz.receipt")
    assert (receipt.status, receipt.err) == (exit_codes.OK, "")
    assert "records left to export: 0" in receipt.out
    assert (await gap.backlog(), await gap.billed()) == (0, 321)


async def test_after_a_receipt_an_export_goes_on_where_the_ledger_ends(gap: AirGap) -> None:
    await gap.report(1, 20)
    await gap.export("first")
    await gap.take("first")
    await gap.report(300)
    receipt = await gap.at_proxy("receipt", gap.folder / "first.receipt")
    assert "records left to export: 1" in receipt.out
    assert "records 3 to 3 of journal" in (await gap.export("second")).out
    assert (await gap.take("second")).status == exit_codes.OK
    assert await gap.billed() == 321


async def test_a_file_that_got_lost_is_named_and_made_again(gap: AirGap) -> None:
    await gap.report(1)
    await gap.export("first")
    await gap.report(20, 300)
    await gap.export("lost", "--after", "1")
    await gap.report(4000)
    await gap.export("third", "--after", "3")
    taken = await gap.take("first", "third")
    assert taken.status == exit_codes.MISSING
    assert "records 2 to 3 of journal " in taken.err
    assert "--after 1 exports" in taken.err
    assert await gap.billed() == 1
    await gap.export("again", "--after", "1")
    assert (await gap.take("third", "again")).status == exit_codes.OK
    assert await gap.billed() == 4321


async def test_a_file_that_is_full_says_how_to_go_on(gap: AirGap, capsys: pytest.CaptureFixture[str]) -> None:
    await gap.report(1, 20, 300)
    proxy = Target(gap.proxy.url, gap.proxy.credential_file)
    for name, after in (("first", None), ("second", 2)):
        assert await asyncio.to_thread(export, proxy, out=gap.folder / name, after=after, limit=2) == exit_codes.OK
    told = capsys.readouterr().out.splitlines()
    assert told[1] == "there may be more: export again with --after 2"
    assert len(told) == 3
    await gap.take("second", "first")
    assert await gap.billed() == 321


async def test_an_answer_that_is_no_whole_export_becomes_no_file(gap: AirGap, tmp_path: Path) -> None:
    await gap.report(1)
    await gap.export("whole")
    whole = (gap.folder / "whole").read_bytes()
    for content in (whole[:-20], b"", b"{}"):
        async with serving(answering(content)) as url:
            ran = await streamstack(
                *("usage", "export", "--out", tmp_path / "usage"),
                *("--proxy", url, "--credential-file", gap.proxy.credential_file),
            )
        assert ran.status == exit_codes.INVALID
        assert f"{url} answered no whole export: " in ran.err
        assert not (tmp_path / "usage").exists()


async def test_an_export_overwrites_nothing(gap: AirGap) -> None:
    (gap.folder / "usage").write_text("mine")
    await gap.report(1)
    exported = await gap.export("usage")
    assert exported.status == exit_codes.USAGE
    assert f"{gap.folder / 'usage'} is there already" in exported.err
    assert (gap.folder / "usage").read_text() == "mine"


async def test_a_journal_with_nothing_new_is_a_file_without_records(gap: AirGap) -> None:
    assert "no records of journal" in (await gap.export("usage")).out
    taken = await gap.take("usage")
    assert (taken.status, "0 accepted, 0 known already" in taken.out) == (exit_codes.OK, True)


async def test_records_that_do_not_exist_yet_are_not_exported(gap: AirGap) -> None:
    await gap.report(1)
    exported = await gap.export("usage", "--after", "5")
    assert exported.status == exit_codes.REFUSED
    assert "record 6 of journal " in exported.err
    assert not (gap.folder / "usage").exists()


async def test_a_receipt_of_another_journal_is_refused(gap: AirGap, tmp_path_factory: pytest.TempPathFactory) -> None:
    await gap.report(1)
    await gap.export("usage")
    await gap.take("usage")
    state = tmp_path_factory.mktemp("other")
    async with license_process(
        gap.folder, license_file=gap.folder / "license.jwt", keys_file=gap.folder / "keys.json", STATE_DIR=str(state)
    ) as other:
        place = ("--proxy", other.url, "--credential-file", other.credential_file)
        refused = await streamstack("usage", "receipt", gap.folder / "usage.receipt", *place)
    assert refused.status == exit_codes.REFUSED
    assert "receipt: it is for journal " in refused.err


async def test_what_is_no_receipt_is_refused(gap: AirGap) -> None:
    (gap.folder / "receipt").write_text("not.a.receipt")
    refused = await gap.at_proxy("receipt", gap.folder / "receipt")
    assert refused.status == exit_codes.REFUSED
    assert "answered 422: receipt: " in refused.err
    missing = await gap.at_proxy("receipt", gap.folder / "nowhere")
    assert missing.status == exit_codes.USAGE


async def test_without_the_stacks_credential_nothing_is_told(gap: AirGap, tmp_path: Path) -> None:
    await gap.report(1)
    (tmp_path / "wrong").write_text("w" * 32)
    refused = await streamstack(
        *("usage", "export", "--out", tmp_path / "usage"),
        *("--proxy", gap.proxy.url, "--credential-file", tmp_path / "wrong"),
    )
    assert refused.status == exit_codes.REFUSED
    assert "answered 401" in refused.err
    assert not (tmp_path / "usage").exists()
