import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry

from streamstack_common.authority import CheckIn
from streamstack_common.license_status import LicenseState
from streamstack_license_proxy.authority import Authority
from streamstack_license_proxy.checkin_memory import MemoryFile
from streamstack_license_proxy.checkins import CheckIns
from streamstack_license_proxy.keeper import LicenseKeeper
from streamstack_license_proxy.trust import Moment
from streamstack_license_proxy.watch import LicenseWatch
from support.scripted_authority import ScriptedAuthority, scripted_authority
from support.signer import Signer
from support.waiting import Waiting

KEY = "the-api-key-itself"
PROBLEM = "what answers is not the license authority"


def write(folder: Path, signer: Signer, **changes: object) -> None:
    (folder / "license.jwt").write_bytes(signer.token(**{"offline": False, "nbf": 1, **changes}))


class Checking:
    """Check-ins with a scripted authority, as the service wires them."""

    def __init__(self, folder: Path, authority: ScriptedAuthority, client: Authority, interval: float) -> None:
        self.registry = CollectorRegistry()
        self.uptime = 100.0
        keyring = authority.signer.keyring()
        self.keeper = LicenseKeeper(
            LicenseWatch(folder / "license.jwt", keyring),
            MemoryFile(folder),
            self.registry,
            clock=self.now,
            checkin_setting_seconds=interval,
        )
        self.check_ins = CheckIns(self.keeper, client, keyring, self.registry, setting_seconds=interval)

    def now(self) -> Moment:
        return Moment(datetime.now(UTC), "boot-1", self.uptime)

    @property
    def state(self) -> LicenseState:
        return self.keeper.standing().state

    def count(self, result: str) -> float | None:
        return self.registry.get_sample_value("streamstack_license_checkins_total", {"result": result})


@asynccontextmanager
async def checking(folder: Path, authority: ScriptedAuthority, *, interval: float = 3600.0) -> AsyncIterator[Checking]:
    async with Authority(endpoint=lambda: authority.url, api_key=lambda: KEY) as client:
        it = Checking(folder, authority, client, interval)
        await it.keeper.start()
        yield it


async def test_a_good_answer_connects_and_is_asked_for_anew_each_time(tmp_path: Path) -> None:
    async with scripted_authority() as authority:
        write(tmp_path, authority.signer)
        async with checking(tmp_path, authority) as it:
            assert await it.check_ins.attempt() is None
            assert await it.check_ins.attempt() is None
            assert (it.state, it.count("good")) == (LicenseState.CONNECTED, 2)
        asked = [CheckIn.model_validate_json(each.body) for each in authority.asked]
        assert len({each.nonce for each in asked}) == 2
        assert {each.instance_id for each in asked} == {it.keeper.instance_id}


@pytest.mark.parametrize(("billing", "sent"), [("usage", f"Bearer {KEY}"), ("flat", None)])
async def test_the_key_goes_along_with_billing_by_usage_alone(tmp_path: Path, billing: str, sent: str | None) -> None:
    async with scripted_authority() as authority:
        write(tmp_path, authority.signer, billing=billing)
        async with checking(tmp_path, authority) as it:
            await it.check_ins.attempt()
        assert [each.authorization for each in authority.asked] == [sent]


async def test_an_offline_license_asks_nobody(tmp_path: Path) -> None:
    async with scripted_authority() as authority:
        write(tmp_path, authority.signer, offline=True)
        async with checking(tmp_path, authority) as it:
            assert await it.check_ins.attempt() is None
            assert it.check_ins.away_seconds() == 0
            assert it.state is LicenseState.READY
        assert not authority.asked


async def test_forged_answers_are_failures_and_prove_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with scripted_authority() as authority:
        write(tmp_path, authority.signer)
        first = authority.good
        async with checking(tmp_path, authority) as it:
            await it.check_ins.attempt()
            replayed = authority.good(CheckIn.model_validate_json(authority.asked[0].body)).text
            forgeries = [
                lambda question: authority.verdict(question, by=Signer(authority.signer.kid)),
                lambda question: authority.verdict(question, by=Signer("somebody")),
                lambda question: authority.verdict(question, sub="license-2"),
                lambda question: authority.verdict(question, by=Signer(authority.signer.kid), verdict="revoked"),
                lambda _: web.Response(text=replayed, content_type="application/json"),
                lambda _: web.json_response({"answer": authority.signer.token().decode()}),
            ]
            for number, forgery in enumerate(forgeries):
                authority.answer = forgery
                problem = await it.check_ins.attempt()
                assert problem is not None
                assert PROBLEM in problem
                assert (it.state, it.count("unproven")) == (LicenseState.TRUST_BASED, number + 1)
            authority.answer = first
            assert await it.check_ins.attempt() is None
            assert it.state is LicenseState.CONNECTED
    assert "ey" + "J" not in caplog.text


async def test_revoked_is_an_answer_and_a_failed_license(tmp_path: Path) -> None:
    async with scripted_authority() as authority:
        write(tmp_path, authority.signer)
        async with checking(tmp_path, authority) as it:
            authority.answer = authority.revoked
            assert await it.check_ins.attempt() is None
            assert (it.state, it.count("revoked")) == (LicenseState.FAILED, 1)


async def test_silence_counts_as_away_and_a_refusal_does_not(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with scripted_authority() as authority:
        write(tmp_path, authority.signer)
        async with checking(tmp_path, authority) as it:
            away = []
            for status in (401, 503, 503):
                authority.answer = lambda _, status=status: web.Response(status=status)  # type: ignore[misc]
                it.uptime += 100
                assert await it.check_ins.attempt() is not None
                away.append(it.check_ins.away_seconds())
            assert away == [0, 100, 200]
            assert (it.count("refused"), it.count("unreachable")) == (1, 2)
            authority.answer = authority.good
            await it.check_ins.attempt()
            assert it.check_ins.away_seconds() == 0
    # The same problem again is not said again.
    assert caplog.text.count("check-in failed") == 2


async def test_another_license_is_asked_about_at_once(tmp_path: Path) -> None:
    async with scripted_authority() as authority:
        write(tmp_path, authority.signer, offline=True)
        async with checking(tmp_path, authority) as it:
            running = asyncio.create_task(it.check_ins.run())
            try:
                for number in (1, 2):
                    write(tmp_path, authority.signer, jti=f"license-{number}")
                    await it.keeper.look()
                    await authority.until(lambda number=number: len(authority.asked) == number)
            finally:
                running.cancel()


async def test_the_loop_goes_on_through_failures_and_back(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    told = Waiting()
    async with scripted_authority() as authority:
        write(tmp_path, authority.signer)
        async with checking(tmp_path, authority, interval=0.02) as it:
            good = it.keeper.good

            async def noticed(*arguments: object, **named: object) -> None:
                await good(*arguments, **named)  # type: ignore[arg-type]
                told.notify()

            it.keeper.good = noticed  # type: ignore[method-assign]
            running = asyncio.create_task(it.check_ins.run())
            try:
                await told.until(lambda: it.state is LicenseState.CONNECTED)
                authority.answer = lambda _: web.Response(status=500)
                seen = len(authority.asked)
                await authority.until(lambda: len(authority.asked) >= seen + 4)
                assert it.state is LicenseState.TRUST_BASED
                authority.answer = authority.good
                await told.until(lambda: it.state is LicenseState.CONNECTED)
            finally:
                running.cancel()
    assert caplog.text.count("Connected -> TrustBased") == 1
    assert caplog.text.count("TrustBased -> Connected") == 1
