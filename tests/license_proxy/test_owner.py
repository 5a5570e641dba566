"""A journal is one customer's, for one authority: no license bills what was used under another's."""

import contextlib
import json
import os
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from streamstack_common.usage import UsageReport
from streamstack_license_proxy.journal.errors import JournalUnusableError
from streamstack_license_proxy.owner import FILE_NAME, Owner, OwnerFile
from support.authority_process import AuthorityProcess, Issued, authority_process
from support.license_process import LicenseProcess, proxy_of
from support.service import TOKEN, call
from support.waiting import eventually


def test_an_owner_is_read_back_and_only_this_user_may_read_it(tmp_path: Path) -> None:
    file = OwnerFile(tmp_path)
    assert file.read() is None
    for owner in (Owner("acme", "https://authority.example"), Owner("b\N{LATIN SMALL LETTER O WITH DIAERESIS}b", None)):
        file.write(owner)
        assert file.read() == owner
    assert (tmp_path / FILE_NAME).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("content", [b"", b"{", b'{"customer": "acme"}', b"\xff" * 10_000])
def test_a_file_that_says_nothing_usable_is_for_a_person(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE_NAME).write_bytes(content)
    with pytest.raises(JournalUnusableError, match="expected customer and authority of the journal"):
        OwnerFile(tmp_path).read()


async def report(proxy: LicenseProcess, session: str, audio_ms: int) -> tuple[int, Any]:
    now = datetime.now(UTC)
    body = UsageReport(
        session_id=f"session-{session}", sequence=1, started_at=now, reported_at=now, model="english", audio_ms=audio_ms
    ).model_dump(mode="json")
    return await call(proxy.url + "/v1/usage", token=TOKEN, method="POST", body={"reports": [body]})


async def until_billed(authority: AuthorityProcess, customer: str, **sessions: int) -> None:
    """Wait until a customer is billed for exactly these sessions, in milliseconds."""
    wanted = {f"session-{name}": audio_ms for name, audio_ms in sessions.items()}

    async def billed() -> bool:
        rows = await authority.sessions(customer)
        return {session: row["audio_ms"] for session, row in rows.items()} == wanted

    await eventually(billed)


async def until_taken(proxy: LicenseProcess, session: str, audio_ms: int) -> None:
    async def taken() -> bool:
        return (await report(proxy, session, audio_ms))[0] == 200

    await eventually(taken)


@asynccontextmanager
async def proxy_with(folder: Path, authority: AuthorityProcess, issued: Issued) -> AsyncIterator[LicenseProcess]:
    """A proxy whose license and API key can be replaced while it runs."""
    key_file = put_key(folder, issued)
    without_key = replace(issued, api_key=None)
    async with proxy_of(folder, authority, without_key, USAGE_TRACKING_API_KEY_FILE=str(key_file)) as proxy:
        yield proxy


def put_key(folder: Path, issued: Issued) -> Path:
    path = folder / "api-key"
    path.write_text(str(issued.api_key))
    return path


async def install(folder: Path, proxy: LicenseProcess, issued: Issued) -> None:
    """Replace license and key, and wait until the proxy goes by them."""
    put_key(folder, issued)
    issued.write(folder)

    async def followed() -> bool:
        return bool((await proxy.get("/v1/license"))[1]["license_id"] == issued.license_id)

    await eventually(followed)


async def test_another_customers_license_begins_a_journal_of_its_own(tmp_path: Path) -> None:
    async with authority_process(tmp_path) as authority:
        acme, beta = await authority.issue(), await authority.issue(customer="beta")
        async with proxy_with(tmp_path, authority, acme) as proxy:
            await until_taken(proxy, "first", 700)
            await until_billed(authority, "acme", first=700)

            async def settled() -> bool:
                return bool((await proxy.get("/v1/usage/backlog"))[1]["records"] == 0)

            await eventually(settled)
            await install(tmp_path, proxy, beta)
            await until_taken(proxy, "second", 900)
            await until_billed(authority, "beta", second=900)
            await until_billed(authority, "acme", first=700)


async def test_what_is_owed_for_one_customer_is_never_billed_to_the_next(tmp_path: Path) -> None:
    async with authority_process(tmp_path) as authority:
        acme, beta = await authority.issue(), await authority.issue(customer="beta")
        port = authority.port
        async with proxy_with(tmp_path, authority, acme) as proxy:
            await until_taken(proxy, "first", 700)
            await until_billed(authority, "acme", first=700)
            await authority.stop()
            await until_taken(proxy, "second", 900)
            await install(tmp_path, proxy, beta)
            async with authority_process(tmp_path, port=port) as back:
                await proxy.until_state("Connected")
                status, answer = await report(proxy, "third", 500)
                assert status == 503
                assert "the usage journal is that of 'acme'" in answer["error"]
                assert "and the license is that of 'beta'" in answer["error"]
                assert (await proxy.get("/readyz", token=None))[0] == 503
                assert (await proxy.get("/v1/usage/export"))[0] == 409
                await until_billed(back, "beta")
                await until_billed(back, "acme", first=700)
                await install(tmp_path, proxy, acme)
                await until_billed(back, "acme", first=700, second=900)
                await install(tmp_path, proxy, beta)
                await until_taken(proxy, "third", 500)
                await until_billed(back, "beta", third=500)
                await until_billed(back, "acme", first=700, second=900)


async def test_another_authority_is_not_told_what_the_one_before_it_has(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    async with authority_process(tmp_path) as one, authority_process(tmp_path / "other") as other:
        here, there = await one.issue(), await other.issue()
        # Keys of both, as `LICENSE_EXTRA_KEYS_FILE` may hold.
        (tmp_path / "keys.json").write_bytes(await keys_of(one, other))
        async with proxy_with(tmp_path, one, here) as proxy:
            await until_taken(proxy, "first", 700)
            await until_billed(one, "acme", first=700)

            async def settled() -> bool:
                return bool((await proxy.get("/v1/usage/backlog"))[1]["records"] == 0)

            await eventually(settled)
            await install(tmp_path, proxy, there)
            await until_taken(proxy, "second", 900)
            await until_billed(other, "acme", second=900)
            await until_billed(one, "acme", first=700)


async def keys_of(*authorities: AuthorityProcess) -> bytes:
    keys = [key for each in authorities for key in json.loads(await each.jwks())["keys"]]
    return json.dumps({"keys": keys}).encode()


@pytest.mark.skipif(os.getuid() != 0, reason="mounts a file system")
async def test_a_full_disk_at_the_first_start_is_waited_for(tmp_path: Path) -> None:
    state = tmp_path / "license-state"
    state.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", state], check=True)
    try:
        ballast = state / "ballast"
        with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while file.write(bytes(4096)):
                pass
        async with authority_process(tmp_path) as authority:
            issued = await authority.issue()
            async with proxy_with(tmp_path, authority, issued) as proxy:
                assert (await report(proxy, "first", 700))[0] == 507
                ballast.unlink()
                await until_taken(proxy, "first", 700)
                await until_billed(authority, "acme", first=700)
                assert await proxy.stop() == 0
    finally:
        subprocess.run(["umount", "--lazy", state], check=True)
