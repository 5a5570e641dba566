import json
import logging
import stat
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamstack_common.license_status import LicenseState
from streamstack_gateway.license.memory import recall, remember
from streamstack_gateway.license.view import Terms, Told

TOLD = Told(
    LicenseState.CONNECTED,
    datetime(2026, 1, 5, 12, tzinfo=UTC),
    datetime(2026, 1, 1, 12, tzinfo=UTC),
    Terms("usage", 100, ("english",)),
)
TERMS = st.builds(
    Terms,
    st.sampled_from(["flat", "usage"]),
    st.none() | st.integers(1, 10**9),
    st.lists(st.text(max_size=10), max_size=4).map(tuple),
)
MOMENTS = st.datetimes(timezones=st.just(UTC))
one_file = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


@one_file
@given(st.builds(Told, st.sampled_from(LicenseState), st.none() | MOMENTS, MOMENTS, st.just(Terms()) | TERMS))
def test_what_is_remembered_is_recalled(tmp_path: Path, told: Told) -> None:
    remember(tmp_path / "license.json", told)
    assert recall(tmp_path / "license.json") == told


def test_the_file_holds_the_seeds_timestamps_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    remember(tmp_path / "license.json", TOLD)
    assert json.loads((tmp_path / "license.json").read_text()) == {
        "version": 2,
        "state": "Connected",
        "trust_expiration": "2026-01-05T12:00:00.000000Z",
        "heard_at": "2026-01-01T12:00:00.000000Z",
        "billing": "usage",
        "max_sessions": 100,
        "models": ["english"],
    }
    assert [path.name for path in tmp_path.iterdir()] == ["license.json"]


def test_the_file_is_this_users_alone_even_after_one_that_was_not(tmp_path: Path) -> None:
    path = tmp_path / "license.json"
    remember(path, TOLD)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o644)
    assert recall(path) == TOLD
    remember(path, TOLD)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_file_of_the_version_before_is_read_without_terms(tmp_path: Path) -> None:
    (tmp_path / "license.json").write_text(
        '{"version": 1, "state": "Ready", "trust_expiration": null, "heard_at": "2026-01-01T12:00:00.000000Z"}'
    )
    assert recall(tmp_path / "license.json") == Told(LicenseState.READY, None, TOLD.heard_at, Terms())


def test_other_time_zones_are_the_same_moment(tmp_path: Path) -> None:
    east = timezone(timedelta(hours=9))
    remember(tmp_path / "license.json", Told(TOLD.state, None, TOLD.heard_at.astimezone(east)))
    assert recall(tmp_path / "license.json") == Told(TOLD.state, None, TOLD.heard_at)


def test_an_absent_file_is_nothing_to_complain_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert recall(tmp_path / "license.json") is None
    assert not caplog.records


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"null",
        b"\xff",
        b'{"version": 1}',
        b'{"version": 2, "state": "Ready", "trust_expiration": null, "heard_at": "2026-01-01T12:00:00Z"}',
        b'{"version": 3, "state": "Ready", "trust_expiration": null, "heard_at": "2026-01-01T12:00:00Z"}',
        b'{"version": 1, "state": "Perfect", "trust_expiration": null, "heard_at": "2026-01-01T12:00:00Z"}',
        b'{"version": 1, "state": "Ready", "trust_expiration": null, "heard_at": "2026-01-01T12:00:00"}',
        b'{"version": 1, "state": "Ready", "trust_expiration": null, "heard_at": "9999-12-31T23:59:59-09:00"}',
        b" " * 300_000,
    ],
)
def test_a_corrupt_file_is_as_if_absent_and_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    (tmp_path / "license.json").write_bytes(content)
    assert recall(tmp_path / "license.json") is None
    assert "starting without" in caplog.text


@one_file
@given(st.binary(max_size=200))
def test_arbitrary_content_is_no_memory(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "license.json").write_bytes(content)
    assert recall(tmp_path / "license.json") is None


def test_a_folder_in_the_files_place_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert recall(tmp_path) is None
    assert "Is a directory" in caplog.text


def test_a_failed_write_keeps_the_old_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "license.json"
    remember(path, TOLD)

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        remember(path, Told(LicenseState.FAILED, None, TOLD.heard_at))
    monkeypatch.undo()
    assert recall(path) == TOLD
    assert [each.name for each in tmp_path.iterdir()] == ["license.json"]
