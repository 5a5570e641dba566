"""What billing by usage changes about the process, with the real license authority."""

import asyncio
import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from streamstack_common.usage import UsageReport
from support.authority_process import authority_process
from support.journals import chained_bodies
from support.license_process import OFTEN, LicenseProcess, license_process, proxy_of
from support.scripted_authority import scripted_authority
from support.service import TOKEN, call
from support.signer import claims
from support.waiting import eventually

DAY = 86_400


def report(session: int, *, sequence: int = 1, audio_ms: int = 1000, outcome: str | None = None) -> dict[str, Any]:
    now = datetime.now(UTC)
    whole: dict[str, Any] = UsageReport(
        session_id=f"session-{session}",
        sequence=sequence,
        started_at=now,
        reported_at=now,
        model="universal-streaming-english",
        audio_ms=audio_ms,
        outcome=outcome,
    ).model_dump(mode="json")
    return whole


async def post(proxy: LicenseProcess, *reports: dict[str, Any]) -> tuple[int, Any]:
    return await call(proxy.url + "/v1/usage", token=TOKEN, method="POST", body={"reports": list(reports)})


def has_journal(folder: Path) -> bool:
    return (folder / "license-state" / "usage.sqlite3").exists()


async def test_usage_goes_up_and_what_waits_at_the_end_goes_first(tmp_path: Path) -> None:
    async with authority_process(tmp_path) as authority:
        issued = await authority.issue()
        async with proxy_of(tmp_path, authority, issued) as proxy:
            assert await post(proxy, report(1, audio_ms=700), report(2)) == (200, {"rejected": []})

            async def billed() -> bool:
                return {"session-1", "session-2"} <= set(await authority.sessions())

            await eventually(billed)
            await post(proxy, report(1, sequence=2, audio_ms=900, outcome="client"))
            assert await proxy.stop() == 0
        assert (await authority.sessions())["session-1"]["audio_ms"] == 900


async def test_flat_keeps_and_sends_nothing_but_check_ins(tmp_path: Path) -> None:
    async with scripted_authority() as authority:
        now = int(datetime.now(UTC).timestamp())
        license_file, keys_file = tmp_path / "license.jwt", tmp_path / "keys.json"
        facts = claims(offline=False, billing="flat", nbf=now - 60, exp=now + DAY, iss=authority.url)
        license_file.write_bytes(authority.signer.sign(facts))
        keys_file.write_bytes(authority.signer.jwks())
        environment = {"CHECKIN_INTERVAL_SECONDS": OFTEN, "USAGE_TRACKING_API_KEY": "some-api-key"}
        async with license_process(tmp_path, license_file=license_file, keys_file=keys_file, **environment) as proxy:
            assert await post(proxy, report(1)) == (200, {"rejected": []})
            asked = len(authority.asked)
            await authority.until(lambda: len(authority.asked) >= asked + 3)
            assert await proxy.stop() == 0
        assert {(each.path, each.authorization) for each in authority.asked} == {("/v1/checkins", None)}
        assert not has_journal(tmp_path)


async def test_a_license_that_becomes_billed_by_usage_needs_no_restart(tmp_path: Path) -> None:
    async with authority_process(tmp_path) as authority:
        flat, usage = await authority.issue(billing="flat"), await authority.issue()
        key_file = tmp_path / "api-key"
        key_file.write_text("not-known-yet")
        environment = {"USAGE_TRACKING_API_KEY_FILE": str(key_file)}
        async with proxy_of(tmp_path, authority, flat, **environment) as proxy:
            assert (await proxy.status())["state"] == "Connected"
            await post(proxy, report(1))
            assert not has_journal(tmp_path)
            usage.write(tmp_path)

            async def refused() -> bool:
                return (await proxy.get("/v1/license"))[1]["license_id"] == usage.license_id and (
                    await proxy.metric("streamstack_license_checkins_total", result="refused") >= 1
                )

            await eventually(refused)
            # Running, a wrong key is no reason to end: the license is new, and Ready for its window.
            assert (await proxy.status())["state"] == "Ready"
            assert usage.api_key is not None
            key_file.write_text(usage.api_key)
            await proxy.until_state("Connected")

            async def taken() -> bool:
                return (await post(proxy, report(2)))[0] == 200

            await eventually(taken)

            async def billed() -> bool:
                return "session-2" in await authority.sessions()

            await eventually(billed)
            assert "session-1" not in await authority.sessions()
            flat.write(tmp_path)
            await proxy.until_state("Connected")
            assert await proxy.stop() == 0


async def test_somebody_who_reads_the_journal_meanwhile_disturbs_nobody(tmp_path: Path) -> None:
    """A backup, or a person with a shell: SQLite's locks keep them apart as long as the proxy does not drop its own."""
    async with authority_process(tmp_path) as authority:
        issued = await authority.issue()
        async with proxy_of(tmp_path, authority, issued) as proxy:
            assert (await post(proxy, report(0)))[0] == 200
            reading = asyncio.create_task(read_on(tmp_path / "license-state"))
            for number in range(1, 201):
                assert (await post(proxy, report(number)))[0] == 200
            reading.cancel()
            await asyncio.wait({reading})
            assert reading.cancelled()
            assert len(chained_bodies(tmp_path / "license-state")) == 201
            assert await proxy.stop() == 0


async def read_on(folder: Path) -> None:
    """Read a journal again and again."""
    while True:
        await asyncio.to_thread(chained_bodies, folder)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"USAGE_TRACKING_API_KEY": "another-api-key"}, "answered 401: the API key is missing or not this customer's"),
        ({"USAGE_TRACKING_API_KEY": ""}, "there is no API key; expected USAGE_TRACKING_API_KEY"),
        ({"LICENSE_AUTHORITY_ENDPOINT": "http://127.0.0.1:9"}, "it failed: http://127.0.0.1:9/v1/checkins"),
        ({"STATE_DIR": ""}, "billing by usage keeps a journal: expected STATE_DIR"),
    ],
)
async def test_billing_by_usage_that_cannot_begin_is_fatal_and_says_why(
    tmp_path: Path, change: dict[str, str], complaint: str
) -> None:
    async with authority_process(tmp_path) as authority:
        issued = await authority.issue()
        with pytest.raises(RuntimeError) as caught:
            async with proxy_of(tmp_path, authority, issued, **change):
                raise AssertionError("it started")
    said = str(caught.value)
    assert "exited 1" in said
    assert said.count("CRITICAL") == 1
    assert complaint in said
    assert "Traceback" not in said


async def test_a_proxy_that_can_keep_nothing_says_so_and_stays(tmp_path: Path) -> None:
    async with authority_process(tmp_path) as authority:
        flat, usage = await authority.issue(billing="flat"), await authority.issue()
        assert usage.api_key is not None
        environment = {"STATE_DIR": "", "USAGE_TRACKING_API_KEY": usage.api_key}
        async with proxy_of(tmp_path, authority, flat, **environment) as proxy:
            assert (await proxy.get("/readyz", token=None))[0] == 200
            usage.write(tmp_path)

            async def unready() -> bool:
                code, reason = await proxy.get("/readyz", token=None)
                return code == 503 and "billing by usage keeps a journal: expected STATE_DIR" in reason

            await eventually(unready)
            assert (await post(proxy, report(1)))[0] == 503
            await proxy.until_state("Connected")
            flat.write(tmp_path)

            async def ready() -> bool:
                return bool((await proxy.get("/readyz", token=None))[0] == 200)

            await eventually(ready)
            assert proxy.log.count("billing by usage keeps a journal") == 1


async def test_what_was_used_before_a_license_became_flat_is_owed_all_the_same(tmp_path: Path) -> None:
    async with authority_process(tmp_path) as authority:
        flat, usage = await authority.issue(billing="flat"), await authority.issue()
        port = authority.port
        async with proxy_of(tmp_path, authority, usage) as proxy:
            await authority.stop()
            assert (await post(proxy, report(1)))[0] == 200
            flat.write(tmp_path)
            await proxy.until_state("Ready")
            assert (await post(proxy, report(2)))[0] == 200
            async with authority_process(tmp_path, port=port) as back:

                async def billed() -> bool:
                    return "session-1" in await back.sessions()

                async def settled() -> bool:
                    return bool((await proxy.get("/v1/usage/backlog"))[1]["records"] == 0)

                await eventually(billed)
                await eventually(settled)
                assert "session-2" not in await back.sessions()


async def test_two_proxies_never_share_a_journal(tmp_path: Path) -> None:
    async with authority_process(tmp_path) as authority:
        issued = await authority.issue()
        async with proxy_of(tmp_path, authority, issued) as proxy:
            with pytest.raises(RuntimeError, match=r"(?s)exited 1.*another license proxy has this journal"):
                async with proxy_of(tmp_path, authority, issued):
                    raise AssertionError("it started")
            assert (await post(proxy, report(1)))[0] == 200


async def test_a_revoked_license_is_told_and_not_fatal(tmp_path: Path) -> None:
    async with authority_process(tmp_path) as authority:
        issued = await authority.issue()
        await authority.revoke(issued.license_id)
        async with proxy_of(tmp_path, authority, issued) as proxy:
            assert (await proxy.get("/v1/license"))[1]["cause"] == "revoked"
            assert (await proxy.get("/readyz", token=None))[0] == 200


async def test_killed_at_any_moment_it_starts_again_with_all_it_knew(tmp_path: Path) -> None:
    async with authority_process(tmp_path) as authority:
        issued = await authority.issue(billing="flat")
        state = tmp_path / "license-state" / "checkin.json"
        known = ""
        for _ in range(4):
            async with proxy_of(tmp_path, authority, issued, CHECKIN_INTERVAL_SECONDS="0.1") as proxy:
                # No moment is chosen: at this interval it is always about to write.
                await asyncio.sleep(secrets.randbelow(300) / 1000)
                proxy.kill()
                await proxy.wait()
                assert "starting without" not in proxy.log
            instance = state.read_text().partition('"instance_id"')[2].splitlines()[0]
            assert known in {"", instance}
            known = instance


async def test_no_secret_is_ever_logged(tmp_path: Path) -> None:
    async with authority_process(tmp_path) as authority:
        issued = await authority.issue(trust_window_seconds=2)
        port = authority.port
        async with proxy_of(tmp_path, authority, issued, LOGGING_LEVEL="DEBUG") as proxy:
            await post(proxy, report(1), {"session_id": "x"}, report(1, audio_ms=5))
            await call(proxy.url + "/v1/status", token=TOKEN[::-1])
            await call(proxy.url + "/v1/usage", token=TOKEN, method="POST", body={"license": issued.license})
            await authority.stop()
            await proxy.until_state("Failed")
            async with authority_process(tmp_path, port=port) as again:
                await proxy.until_state("Connected")
                await again.revoke(issued.license_id)
                await proxy.until_state("Failed")
            (tmp_path / "license.jwt").write_text(issued.license[:-20] + "A" * 20)

            async def forged() -> bool:
                return bool((await proxy.get("/v1/license"))[1]["cause"] == "forged_signature")

            await eventually(forged)
            assert await proxy.stop() == 0
    logs = "".join(path.read_text(errors="replace") for path in tmp_path.glob("*.log"))
    assert "license Connected -> Failed (revoked)" in logs
    assert issued.api_key is not None
    header, payload, signature = issued.license.split(".")
    for secret in (TOKEN, TOKEN[::-1], issued.api_key, payload, signature, header, "session-1"):
        assert secret not in logs
