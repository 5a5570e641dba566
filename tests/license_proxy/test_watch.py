import logging
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from streamstack_common.license import (
    MAX_LICENSE_BYTES,
    MissingLicenseError,
    OversizedLicenseError,
    UnreadableLicenseError,
)
from streamstack_common.license_status import LicenseState
from streamstack_license_proxy.watch import LicenseWatch, read_license
from support.signer import EXP, NBF, Signer

SIGNER = Signer()


class Clock:
    def __init__(self, seconds: int) -> None:
        self.seconds = seconds

    def __call__(self) -> datetime:
        return datetime.fromtimestamp(self.seconds, UTC)


def watch(path: Path, clock: Clock | None = None) -> LicenseWatch:
    return LicenseWatch(path, SIGNER.keyring(), now=clock or Clock(NBF))


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(MissingLicenseError, match=r"license\.jwt: no such file"):
        read_license(tmp_path / "license.jwt")
    (tmp_path / "file").touch()
    with pytest.raises(MissingLicenseError):
        read_license(tmp_path / "file" / "license.jwt")


def test_what_is_no_regular_file_is_unreadable_and_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path, tmp_path / "fifo", Path("/dev/zero")):
        with pytest.raises(UnreadableLicenseError):
            read_license(path)


def test_the_size_limit_is_exact(tmp_path: Path) -> None:
    path = tmp_path / "license.jwt"
    path.write_bytes(b"a" * MAX_LICENSE_BYTES)
    assert len(read_license(path)) == MAX_LICENSE_BYTES
    path.write_bytes(b"a" * (MAX_LICENSE_BYTES + 1))
    with pytest.raises(OversizedLicenseError):
        read_license(path)


async def test_before_the_first_look_nothing_is_admitted(tmp_path: Path) -> None:
    assert watch(tmp_path / "license.jwt").standing().state is LicenseState.FAILED


async def test_a_swapped_symlink_is_seen_like_a_kubelet_makes_it(tmp_path: Path) -> None:
    for name, token in (("old", Signer("test-1").token()), ("new", SIGNER.token())):
        (tmp_path / name).mkdir()
        (tmp_path / name / "license.jwt").write_bytes(token)
    (tmp_path / "..data").symlink_to("old")
    path = tmp_path / "license.jwt"
    path.symlink_to("..data/license.jwt")

    watched = watch(path)
    await watched.look()
    assert watched.standing().state is LicenseState.FAILED

    (tmp_path / "..data_tmp").symlink_to("new")
    (tmp_path / "..data_tmp").rename(tmp_path / "..data")
    await watched.look()
    assert watched.standing().state is LicenseState.READY


async def test_a_change_in_place_with_the_same_size_and_time_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "license.jwt"
    path.write_bytes(SIGNER.token())
    watched = watch(path)
    await watched.look()
    before = path.stat()

    path.write_bytes(b"x" * before.st_size)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    await watched.look()
    assert watched.standing().state is LicenseState.FAILED


async def test_expiry_counts_at_once_and_is_logged_at_the_next_look(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, clock = tmp_path / "license.jwt", Clock(EXP - 1)
    token = SIGNER.token()
    path.write_bytes(token)
    watched = watch(path, clock)
    with caplog.at_level(logging.INFO):
        await watched.look()
        clock.seconds = EXP
        assert watched.standing().state is LicenseState.FAILED
        for _ in range(3):
            await watched.look()
    first, second = [record.getMessage() for record in caplog.records]
    assert "unknown -> Ready: license license-1 of acme" in first
    assert "Ready -> Failed (expired): expired at" in second
    assert token.decode() not in caplog.text


async def test_each_new_bad_file_is_logged_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "license.jwt"
    watched = watch(path)
    for content in (b"one", b"one", b"two", b"two"):
        path.write_bytes(content)
        await watched.look()
    path.unlink()
    await watched.look()
    path.write_bytes(SIGNER.token())
    with caplog.at_level(logging.INFO):
        await watched.look()
    lines = [record.getMessage() for record in caplog.records]
    assert ["malformed" in line for line in lines] == [True, True, False, False]
    assert "missing_file" in lines[2]
    assert "Failed -> Ready" in lines[3]
