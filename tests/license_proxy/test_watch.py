import os
from pathlib import Path

import pytest

from streamstack_common.license import (
    MAX_LICENSE_BYTES,
    License,
    LicenseError,
    MalformedLicenseError,
    MissingLicenseError,
    OversizedLicenseError,
    UnreadableLicenseError,
)
from streamstack_license_proxy.watch import LicenseWatch, read_license
from support.signer import Signer

SIGNER = Signer()


def watch(path: Path) -> LicenseWatch:
    return LicenseWatch(path, SIGNER.keyring())


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


async def test_before_the_first_look_there_is_no_license(tmp_path: Path) -> None:
    assert isinstance(watch(tmp_path / "license.jwt").reading, LicenseError)


async def test_a_swapped_symlink_is_seen_like_a_kubelet_makes_it(tmp_path: Path) -> None:
    for name, token in (("old", Signer("test-1").token()), ("new", SIGNER.token())):
        (tmp_path / name).mkdir()
        (tmp_path / name / "license.jwt").write_bytes(token)
    (tmp_path / "..data").symlink_to("old")
    path = tmp_path / "license.jwt"
    path.symlink_to("..data/license.jwt")

    watched = watch(path)
    assert await watched.look()
    assert isinstance(watched.reading, LicenseError)

    (tmp_path / "..data_tmp").symlink_to("new")
    (tmp_path / "..data_tmp").rename(tmp_path / "..data")
    assert await watched.look()
    assert isinstance(watched.reading, License)


async def test_a_change_in_place_with_the_same_size_and_time_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "license.jwt"
    path.write_bytes(SIGNER.token())
    watched = watch(path)
    assert await watched.look()
    before = path.stat()

    path.write_bytes(b"x" * before.st_size)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert await watched.look()
    assert isinstance(watched.reading, MalformedLicenseError)


async def test_only_a_change_is_told(tmp_path: Path) -> None:
    path = tmp_path / "license.jwt"
    watched = watch(path)
    assert await watched.look()
    told = []
    for content in (b"one", b"one", b"two", None, None, SIGNER.token(), SIGNER.token(jti="license-2")):
        path.unlink(missing_ok=True)
        if content is not None:
            path.write_bytes(content)
        told.append(await watched.look())
    assert told == [True, False, True, True, False, True, True]


async def test_only_an_authentic_license_that_wants_check_ins_is_online(tmp_path: Path) -> None:
    path = tmp_path / "license.jwt"
    watched = watch(path)
    for token, online in (
        (SIGNER.token(offline=True), False),
        (SIGNER.token(offline=None), True),
        (Signer().token(offline=False), False),
        (SIGNER.token(offline=False, jti="license-2"), True),
    ):
        path.write_bytes(token + b"\n")
        await watched.look()
        found = watched.online()
        assert (found is not None) is online
        if found is not None:
            assert found[1] == token.decode()
    path.unlink()
    await watched.look()
    assert watched.online() is None
    assert watched.content is None
