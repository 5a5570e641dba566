import logging
import math
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from streamstack_common.license_status import LicenseState
from streamstack_license_proxy.api import report_of
from streamstack_license_proxy.checkin_memory import MemoryFile
from streamstack_license_proxy.keeper import LicenseKeeper
from streamstack_license_proxy.trust import Moment
from streamstack_license_proxy.watch import LicenseWatch
from support.signer import EXP, NBF, Signer

SIGNER = Signer()
WINDOW = 1000


class Clock:
    """All clocks at once, moved by hand."""

    def __init__(self) -> None:
        self.moment = Moment(datetime.fromtimestamp(NBF, UTC), "boot-1", 100.0)

    def __call__(self) -> Moment:
        return self.moment

    @property
    def wall(self) -> datetime:
        return self.moment.wall

    def pass_time(self, seconds: float) -> None:
        now = self.moment
        self.moment = Moment(now.wall + timedelta(seconds=seconds), now.boot_id, now.boottime_seconds + seconds)


class Kept:
    """A keeper over a folder with a license."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self.license_file = folder / "license.jwt"
        self.registry = CollectorRegistry()
        self.clock = clock
        watch = LicenseWatch(self.license_file, SIGNER.keyring())
        self.keeper = LicenseKeeper(watch, MemoryFile(folder), self.registry, clock=clock, checkin_setting_seconds=60)

    def metric(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(f"streamstack_license_{name}", labels)

    @property
    def state(self) -> LicenseState:
        return self.keeper.standing().state


def write(folder: Path, **changes: object) -> None:
    claims = {"offline": False, "trust_window_seconds": WINDOW, **changes}
    (folder / "license.jwt").write_bytes(SIGNER.token(**claims))


async def kept(folder: Path, clock: Clock | None = None) -> Kept:
    made = Kept(folder, clock or Clock())
    await made.keeper.start()
    return made


async def test_every_transition_is_logged_and_counted_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path)
    with caplog.at_level(logging.INFO):
        it = await kept(tmp_path)
        await it.keeper.good("license-1", authority_time=it.clock.wall)
        for _ in range(3):
            await it.keeper.failed("license-1", "no way to it")
            await it.keeper.look()
        it.clock.pass_time(WINDOW)
        for _ in range(3):
            await it.keeper.look()
        await it.keeper.good("license-1", authority_time=it.clock.wall)
        await it.keeper.revoked("license-1")
    lines = [(record.levelname, record.getMessage()) for record in caplog.records]
    assert [(level, line.partition(":")[0]) for level, line in lines] == [
        ("INFO", "license unknown -> Ready"),
        ("INFO", "license Ready -> Connected"),
        ("WARNING", "license Connected -> TrustBased"),
        ("ERROR", "license TrustBased -> Failed (trust_expired)"),
        ("INFO", "license Failed -> Connected"),
        ("ERROR", "license Connected -> Failed (revoked)"),
    ]
    assert "license-1 of acme" in lines[0][1]
    assert "trusted until 2027-01-15T08:16:40.000000Z, last check-in: no way to it" in lines[2][1]
    assert "no way to it" in lines[3][1]
    counted = {
        (sample.labels["from"], sample.labels["to"]): sample.value
        for family in it.registry.collect()
        for sample in family.samples
        if sample.name == "streamstack_license_transitions_total"
    }
    assert counted == {
        ("Ready", "Connected"): 1,
        ("Connected", "TrustBased"): 1,
        ("TrustBased", "Failed"): 1,
        ("Failed", "Connected"): 1,
        ("Connected", "Failed"): 1,
    }


async def test_expiry_counts_at_once_and_is_logged_at_the_next_look(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path, offline=True)
    it = await kept(tmp_path)
    it.clock.pass_time(EXP - NBF)
    assert it.state is LicenseState.FAILED
    for _ in range(3):
        await it.keeper.look()
    (line,) = [record.getMessage() for record in caplog.records]
    assert "Ready -> Failed (expired): expired at" in line
    assert it.license_file.read_text() not in caplog.text


async def test_each_new_bad_file_is_logged_once_and_none_is_a_transition_from_failed_to_failed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    it = Kept(tmp_path, Clock())
    for content in (b"one", b"one", b"two", b"two"):
        it.license_file.write_bytes(content)
        await it.keeper.look()
    it.license_file.unlink()
    await it.keeper.look()
    write(tmp_path, offline=True)
    with caplog.at_level(logging.INFO):
        await it.keeper.look()
    lines = [record.getMessage() for record in caplog.records]
    assert ["malformed" in line for line in lines] == [True, True, False, False]
    assert "missing_file" in lines[2]
    assert "Failed -> Ready" in lines[3]
    assert it.metric("transitions_total", **{"from": "Failed", "to": "Failed"}) is None
    assert it.metric("transitions_total", **{"from": "Failed", "to": "Ready"}) == 1


async def test_gauges_tell_state_and_times(tmp_path: Path) -> None:
    write(tmp_path)
    it = await kept(tmp_path)
    assert it.metric("state", state="Ready") == 1
    assert math.isnan(it.metric("trust_expiration_timestamp_seconds") or 0)
    await it.keeper.good("license-1", authority_time=it.clock.wall)
    assert [it.metric("state", state=state) for state in LicenseState] == [0, 1, 0, 0]
    assert it.metric("last_checkin_timestamp_seconds") == NBF
    assert it.metric("trust_expiration_timestamp_seconds") == NBF + WINDOW
    assert it.metric("expiry_timestamp_seconds") == EXP
    assert it.metric("valid") == 1
    await it.keeper.revoked("license-1")
    assert it.metric("valid") == 0
    assert it.metric("state", state="Failed") == 1


async def test_a_proxy_whose_word_proves_nothing_is_not_ready(tmp_path: Path) -> None:
    write(tmp_path)
    it = await kept(tmp_path)
    assert it.keeper.unready() == "no check-in with the license authority was good yet: none was tried"
    await it.keeper.failed("license-1", "no way to it")
    assert "no way to it" in (it.keeper.unready() or "")
    it.clock.pass_time(WINDOW)
    assert it.state is LicenseState.FAILED
    assert it.keeper.unready() is not None
    await it.keeper.good("license-1", authority_time=it.clock.wall)
    assert it.keeper.unready() is None


async def test_it_stays_ready_with_another_license_after_a_restart(tmp_path: Path) -> None:
    write(tmp_path)
    it = await kept(tmp_path)
    await it.keeper.good("license-1", authority_time=it.clock.wall)
    write(tmp_path, jti="license-2")
    again = await kept(tmp_path, it.clock)
    assert (again.state, again.keeper.unready()) == (LicenseState.READY, None)


@pytest.mark.parametrize("changes", [{"offline": True}, {"exp": NBF - 1, "nbf": NBF - 10}])
async def test_what_no_check_in_would_change_is_told_at_once(tmp_path: Path, changes: dict[str, object]) -> None:
    write(tmp_path, **changes)
    assert (await kept(tmp_path)).keeper.unready() is None


async def test_revoked_before_any_good_check_in_is_told(tmp_path: Path) -> None:
    write(tmp_path)
    it = await kept(tmp_path)
    await it.keeper.revoked("license-1")
    assert (it.state, it.keeper.unready()) == (LicenseState.FAILED, None)


async def test_a_license_that_comes_back_is_neither_new_nor_unrevoked(tmp_path: Path) -> None:
    write(tmp_path)
    it = await kept(tmp_path)
    await it.keeper.revoked("license-1")
    write(tmp_path, jti="license-2")
    await it.keeper.look()
    assert it.state is LicenseState.READY
    write(tmp_path)
    again = await kept(tmp_path, it.clock)
    assert again.state is LicenseState.FAILED
    assert report_of(again.keeper.standing(), problem=None).cause == "revoked"


async def test_an_answer_about_the_license_before_this_one_says_nothing_of_this_one(tmp_path: Path) -> None:
    write(tmp_path)
    it = await kept(tmp_path)
    write(tmp_path, jti="license-2")
    await it.keeper.look()
    await it.keeper.failed("license-1", "no way to it")
    await it.keeper.revoked("license-1")
    assert (it.state, it.keeper.problem) == (LicenseState.READY, None)


async def test_the_report_says_why_a_license_is_only_trusted(tmp_path: Path) -> None:
    write(tmp_path)
    it = await kept(tmp_path)
    await it.keeper.good("license-1", authority_time=it.clock.wall)
    await it.keeper.failed("license-1", "no way to it")
    report = report_of(it.keeper.standing(), problem=it.keeper.problem)
    assert (report.state, report.cause) == (LicenseState.TRUST_BASED, "checkin_failed")
    assert report.reason == "the last check-in failed: no way to it"
    assert (report.billing, report.max_sessions, report.customer) == ("usage", 100, "acme")
