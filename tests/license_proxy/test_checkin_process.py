"""The license proxy and the license authority as processes."""

import asyncio
import json
import socket
from datetime import UTC, datetime
from pathlib import Path

import pytest
from aiohttp import web

from streamstack_license_proxy.self_termination import SELF_TERMINATED
from support.authority_process import authority_process
from support.faked_clock import FakedClock
from support.license_process import OFTEN, LicenseProcess, license_process, proxy_of
from support.scripted_authority import scripted_authority
from support.service import service, write_credential
from support.signer import Signer, claims
from support.waiting import eventually

DAY = 86_400


async def test_a_good_check_in_connects_in_the_seeds_shape(tmp_path: Path) -> None:
    async with authority_process(tmp_path) as authority:
        issued = await authority.issue(billing="flat")
        async with proxy_of(tmp_path, authority, issued) as proxy:
            status = await proxy.status()
            assert status["state"] == "Connected"
            checked, until = (
                datetime.fromisoformat(status[name]) for name in ("last_successful_checkin", "trust_expiration")
            )
            assert (until - checked).total_seconds() == 4 * DAY
            assert abs((checked - datetime.now(UTC)).total_seconds()) < DAY
            assert (await proxy.get("/readyz", token=None))[0] == 200
            assert await proxy.metric("streamstack_license_state", state="Connected") == 1
            assert await proxy.metric("streamstack_license_checkins_total", result="good") >= 1
            assert await proxy.stop() == 0


async def test_the_authority_goes_and_comes_back(tmp_path: Path) -> None:
    async with authority_process(tmp_path) as authority:
        issued = await authority.issue(billing="flat", trust_window_seconds=2)
        port = authority.port
        async with proxy_of(tmp_path, authority, issued) as proxy:
            await authority.stop()
            await proxy.until_state("TrustBased")
            report = (await proxy.get("/v1/license"))[1]
            assert report["cause"] == "checkin_failed"
            await proxy.until_state("Failed")
            report = (await proxy.get("/v1/license"))[1]
            assert (report["cause"], report["billing"]) == ("trust_expired", "flat")
            # Its word is as good as any, and the word is that nobody may begin.
            assert (await proxy.get("/readyz", token=None))[0] == 200
            async with authority_process(tmp_path, port=port):
                await proxy.until_state("Connected")
                steps = [("Connected", "TrustBased"), ("TrustBased", "Failed"), ("Failed", "Connected")]
                for before, after in steps:
                    labels = {"from": before, "to": after}
                    assert await proxy.metric("streamstack_license_transitions_total", **labels) == 1
                    assert proxy.log.count(f"license {before} -> {after}") == 1
                assert proxy.log.count("license TrustBased -> Failed (trust_expired)") == 1


async def test_revoking_fails_it_and_no_restart_forgets_that(tmp_path: Path) -> None:
    async with authority_process(tmp_path) as authority:
        issued = await authority.issue(billing="flat")
        async with proxy_of(tmp_path, authority, issued) as proxy:
            assert (await proxy.status())["state"] == "Connected"
            await authority.revoke(issued.license_id)
            await proxy.until_state("Failed")
            assert (await proxy.get("/v1/license"))[1]["cause"] == "revoked"
        await authority.stop()
        async with proxy_of(tmp_path, authority, issued) as proxy:
            assert (await proxy.get("/v1/license"))[1]["cause"] == "revoked"


@pytest.mark.parametrize("end", ["stop", "kill"])
async def test_a_restart_keeps_trust_and_gives_none(tmp_path: Path, end: str) -> None:
    async with authority_process(tmp_path) as authority:
        issued = await authority.issue(billing="flat", trust_window_seconds=60)
        async with proxy_of(tmp_path, authority, issued) as proxy:
            await authority.stop()
            await proxy.until_state("TrustBased")
            before = await proxy.status()
            proxy.kill() if end == "kill" else proxy.terminate()
            await proxy.wait()
        async with proxy_of(tmp_path, authority, issued) as proxy:
            assert await proxy.status() == before
            assert (await proxy.get("/readyz", token=None))[0] == 200
            assert json.loads((tmp_path / "license-state" / "checkin.json").read_text())["version"] == 1


async def test_without_any_check_in_it_is_ready_by_name_alone(tmp_path: Path) -> None:
    async with authority_process(tmp_path) as authority:
        issued = await authority.issue(billing="flat", trust_window_seconds=3)
        port = authority.port
        (tmp_path / "keys.json").write_bytes(await authority.jwks())
        await authority.stop()
        async with proxy_of(tmp_path, authority, issued) as proxy:
            status = await proxy.status()
            assert (status["state"], status["last_successful_checkin"]) == ("Ready", None)
            code, reason = await proxy.get("/readyz", token=None)
            assert code == 503
            assert "no check-in with the license authority was good yet" in reason
            await proxy.until_state("Failed")
            assert (await proxy.get("/v1/license"))[1]["cause"] == "never_confirmed"
            async with authority_process(tmp_path, port=port):
                await proxy.until_state("Connected")
                assert (await proxy.get("/readyz", token=None))[0] == 200


async def test_no_jump_of_the_wall_clock_changes_anything(tmp_path: Path) -> None:
    clock = FakedClock(tmp_path)
    async with authority_process(tmp_path) as authority:
        issued = await authority.issue(billing="flat", trust_window_seconds=600, valid_seconds=DAY)
        async with proxy_of(tmp_path, authority, issued, **clock.environment) as proxy:
            await authority.stop()
            await proxy.until_state("TrustBased")
            before = await proxy.status()
            for jump in (400 * DAY, -400 * DAY, 3600, 0):
                clock.move(jump)
                assert await proxy.status() == before
            clock.move(400 * DAY)
            proxy.kill()
            await proxy.wait()
        # On the same boot a restart measures trust by the same clock.
        async with proxy_of(tmp_path, authority, issued, **clock.environment) as proxy:
            assert await proxy.status() == before


async def test_with_a_wrong_clock_from_the_start_the_authority_tells_the_date(tmp_path: Path) -> None:
    clock = FakedClock(tmp_path)
    clock.move(-400 * DAY)
    async with authority_process(tmp_path) as authority:
        issued = await authority.issue(billing="flat")
        async with proxy_of(tmp_path, authority, issued, **clock.environment) as proxy:
            assert (await proxy.status())["state"] == "Connected"
            assert "(not_yet_valid)" in proxy.log


async def test_forged_answers_prove_nothing_to_a_process(tmp_path: Path) -> None:
    now = int(datetime.now(UTC).timestamp())
    async with scripted_authority() as authority:
        license_file, keys_file = tmp_path / "license.jwt", tmp_path / "keys.json"
        facts = claims(offline=False, billing="flat", nbf=now - 60, exp=now + DAY, iss=authority.url)
        license_file.write_bytes(authority.signer.sign(facts))
        keys_file.write_bytes(authority.signer.jwks())
        async with license_process(
            tmp_path, license_file=license_file, keys_file=keys_file, CHECKIN_INTERVAL_SECONDS=OFTEN
        ) as proxy:
            assert (await proxy.status())["state"] == "Connected"
            authority.answer = lambda question: authority.verdict(question, nonce="n" * 32)
            await proxy.until_state("TrustBased")
            authority.answer = authority.good
            await proxy.until_state("Connected")
            authority.answer = lambda _: web.Response(status=302, headers={"Location": "http://127.0.0.1:9/"})
            await proxy.until_state("TrustBased")
            assert await proxy.metric("streamstack_license_checkins_total", result="unproven") >= 1


async def test_an_offline_license_asks_nobody_and_uploads_nothing(tmp_path: Path) -> None:
    now = int(datetime.now(UTC).timestamp())
    async with scripted_authority() as authority:
        license_file, keys_file = tmp_path / "license.jwt", tmp_path / "keys.json"
        facts = claims(offline=True, billing="usage", nbf=now - 60, exp=now + DAY, iss=authority.url)
        license_file.write_bytes(authority.signer.sign(facts))
        keys_file.write_bytes(authority.signer.jwks())
        environment = {
            "CHECKIN_INTERVAL_SECONDS": OFTEN,
            "LICENSE_AUTHORITY_ENDPOINT": authority.url,
            "USAGE_TRACKING_API_KEY": "some-api-key",
        }
        async with license_process(tmp_path, license_file=license_file, keys_file=keys_file, **environment) as proxy:
            assert (await proxy.get("/readyz", token=None))[0] == 200
            nulls = {"last_successful_checkin": None, "trust_expiration": None, "extra_keys": True}
            assert await proxy.status() == {"state": "Ready", **nulls}
            assert not authority.asked
            # A license that asks shows that the listener would have heard it, and that time has passed.
            license_file.write_bytes(authority.signer.sign({**facts, "offline": False, "jti": "license-2"}))
            await proxy.until_state("Connected")
            license_file.write_bytes(authority.signer.sign(facts))
            await proxy.until_state("Ready")
            asked = len(authority.asked)
            assert (await proxy.get("/v1/license"))[1]["license_id"] == "license-1"
            assert await proxy.stop() == 0
            assert len(authority.asked) == asked
            assert {each.path for each in authority.asked} == {"/v1/checkins"}


async def test_it_can_be_stopped_while_it_waits_for_its_first_answer(tmp_path: Path) -> None:
    now = int(datetime.now(UTC).timestamp())
    signer = Signer()
    license_file, keys_file = tmp_path / "license.jwt", tmp_path / "keys.json"
    keys_file.write_bytes(signer.jwks())
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        facts = claims(offline=False, billing="usage", nbf=now - 60, exp=now + DAY, iss=endpoint)
        license_file.write_bytes(signer.sign(facts))
        environment = {
            "HTTP_PORT": "0",
            "HOST": "127.0.0.1",
            "STATE_DIR": str(tmp_path),
            "LICENSE_FILE_PATH": str(license_file),
            "LICENSE_EXTRA_KEYS_FILE": str(keys_file),
            "STREAMSTACK_CREDENTIAL_FILE": str(write_credential(tmp_path)),
            "USAGE_TRACKING_API_KEY": "some-api-key",
        }
        async with service(
            LicenseProcess, "streamstack_license_proxy", folder=tmp_path, environment=environment
        ) as proxy:
            connection, _ = await asyncio.get_running_loop().run_in_executor(None, silent.accept)
            with connection:
                assert await proxy.stop() == 0
            assert "license proxy stopped" in proxy.log
            assert "Traceback" not in proxy.log


async def test_self_termination_has_a_status_of_its_own(tmp_path: Path) -> None:
    clock = FakedClock(tmp_path, every_clock=True)
    async with authority_process(tmp_path) as authority:
        issued = await authority.issue()
        environment = {"USAGE_SELF_TERMINATE_MINUTES": "5", **clock.environment}
        async with proxy_of(tmp_path, authority, issued, **environment) as proxy:
            await authority.stop()
            await proxy.until_state("TrustBased")
            clock.move(280)
            assert (await proxy.status())["state"] == "TrustBased"
            assert proxy.process.returncode is None
            clock.move(330)
            assert await proxy.wait() == SELF_TERMINATED
            assert "CRITICAL" in proxy.log
            assert "was away for 5 minutes: USAGE_SELF_TERMINATE_MINUTES" in proxy.log
            assert "Traceback" not in proxy.log


async def test_a_flat_license_never_ends_its_proxy(tmp_path: Path) -> None:
    clock = FakedClock(tmp_path, every_clock=True)
    async with authority_process(tmp_path) as authority:
        issued = await authority.issue(billing="flat")
        environment = {"USAGE_SELF_TERMINATE_MINUTES": "5", **clock.environment}
        async with proxy_of(tmp_path, authority, issued, **environment) as proxy:
            await authority.stop()
            await proxy.until_state("TrustBased")
            failed = await proxy.metric("streamstack_license_checkins_total", result="unreachable")
            clock.move(3600)

            async def tried_again() -> bool:
                return await proxy.metric("streamstack_license_checkins_total", result="unreachable") > failed + 2

            await eventually(tried_again)
            assert await proxy.stop() == 0
