"""``streamstack license`` with a real license authority."""

import asyncio
import os
import pty
import stat
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import pytest_asyncio

from streamstack_cli import exit_codes
from streamstack_common.keyring import Keyring, parse_jwks
from streamstack_common.license import verify
from support.authority_process import AuthorityProcess, authority_process
from support.certificates import write_self_signed
from support.cli import Ran, streamstack
from support.http_double import answering, serving
from support.service import write_credential

DAY_SECONDS = 86_400


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def authority(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[AuthorityProcess]:
    async with authority_process(tmp_path_factory.mktemp("authority")) as running:
        yield running


pytestmark = pytest.mark.asyncio(loop_scope="module")


async def issue(authority: AuthorityProcess, folder: Path, *more: str | Path, billing: str = "usage") -> Ran:
    place = ("--authority", authority.url, "--credential-file", authority.credential_file)
    wanted = ("--customer", "acme", "--billing", billing, "--out", folder / "license.jwt")
    return await streamstack("license", "issue", *place, *wanted, *more)


async def test_a_license_is_issued_as_it_was_wanted(authority: AuthorityProcess, tmp_path: Path) -> None:
    wanted = (
        "--models",
        "english, u3-pro",
        "--max-sessions",
        "50",
        "--valid-days",
        "7",
        "--trust-window-seconds",
        "60",
    )
    ran = await issue(authority, tmp_path, *wanted, "--api-key-out", tmp_path / "api-key")
    assert (ran.status, ran.err) == (exit_codes.OK, "")
    license_ = verify(
        (tmp_path / "license.jwt").read_bytes(), Keyring(parse_jwks(await authority.jwks(), source="authority"))
    )
    license_.check(datetime.now(UTC))
    assert (license_.customer, license_.billing, license_.authority) == ("acme", "usage", authority.url)
    assert (license_.models, license_.max_sessions) == (("english", "u3-pro"), 50)
    assert (license_.trust_window_seconds, license_.offline) == (60, False)
    assert license_.exp - license_.iat == 7 * DAY_SECONDS
    assert f"license {license_.license_id} of acme" in ran.out


async def test_its_files_are_their_owners_alone_and_no_secret_is_printed(
    authority: AuthorityProcess, tmp_path: Path
) -> None:
    ran = await issue(authority, tmp_path, "--api-key-out", tmp_path / "api-key")
    secrets = [(tmp_path / name).read_text().strip() for name in ("license.jwt", "api-key")]
    assert secrets[1].startswith("ssk_")
    assert [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("license.jwt", "api-key")] == [0o600, 0o600]
    for secret in (*secrets, authority.token):
        assert secret not in ran.out + ran.err


@pytest.mark.parametrize("there", ["license.jwt", "api-key"])
async def test_nothing_is_issued_where_a_file_is_in_the_way(
    authority: AuthorityProcess, tmp_path: Path, there: str
) -> None:
    (tmp_path / there).write_text("mine")
    before = authority.log.count("issued to")
    ran = await issue(authority, tmp_path, "--api-key-out", tmp_path / "api-key")
    assert ran.status == exit_codes.USAGE
    assert f"{tmp_path / there} is there already" in ran.err
    assert [path.name for path in tmp_path.iterdir()] == [there]
    assert authority.log.count("issued to") == before


async def test_an_api_key_that_would_go_nowhere_is_not_made(authority: AuthorityProcess, tmp_path: Path) -> None:
    for more in ((), ("--show-api-key",), ("--show-api-key", "--api-key-out", str(tmp_path / "api-key"))):
        ran = await issue(authority, tmp_path, *more)
        assert ran.status == exit_codes.USAGE
        assert "--api-key-out FILE" in ran.err
    assert list(tmp_path.iterdir()) == []


async def test_a_terminal_is_shown_the_api_key_when_it_asks(authority: AuthorityProcess, tmp_path: Path) -> None:
    """Where a script reads along, there is no terminal, and the key is not shown: see above."""
    inner, outer = pty.openpty()
    place = ("--authority", authority.url, "--credential-file", authority.credential_file)
    wanted = ("--customer", "acme", "--billing", "usage", "--out", tmp_path / "license.jwt", "--show-api-key")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "streamstack_cli", "license", "issue", *place, *wanted),
        env={"PATH": os.environ["PATH"]},
        stdout=outer,
    )
    os.close(outer)
    assert await process.wait() == exit_codes.OK
    shown = os.read(inner, 4096).decode()
    os.close(inner)
    assert "API key of acme, for USAGE_TRACKING_API_KEY, shown once: ssk_" in shown


@pytest.mark.parametrize(("billing", "more"), [("flat", ()), ("flat", ("--offline",)), ("usage", ("--offline",))])
async def test_a_license_that_reports_nothing_over_a_network_has_no_api_key(
    authority: AuthorityProcess, tmp_path: Path, billing: str, more: tuple[str, ...]
) -> None:
    assert (await issue(authority, tmp_path, *more, billing=billing)).status == exit_codes.OK
    with_key = await issue(authority, tmp_path, *more, "--api-key-out", tmp_path / "api-key", billing=billing)
    assert with_key.status == exit_codes.USAGE
    assert "no API key comes with this license" in with_key.err


async def test_what_was_issued_is_inspected_with_the_authoritys_own_keys(
    authority: AuthorityProcess, tmp_path: Path
) -> None:
    await issue(authority, tmp_path, billing="flat")
    for keys in (authority.url, f"{authority.url}/v1/keys"):
        ran = await streamstack("license", "inspect", tmp_path / "license.jwt", "--keys", keys)
        assert (ran.status, ran.err) == (exit_codes.OK, "")
        assert "signature  good, by key " in ran.out
    (tmp_path / "keys.json").write_bytes(await authority.jwks())
    ran = await streamstack("license", "inspect", tmp_path / "license.jwt", "--keys", tmp_path / "keys.json")
    assert "signature  good, by key " in ran.out


async def test_a_license_is_revoked_once_and_again(authority: AuthorityProcess) -> None:
    issued = await authority.issue()
    place = ("--authority", authority.url, "--credential-file", authority.credential_file)
    for _ in range(2):
        ran = await streamstack("license", "revoke", issued.license_id, *place, "--reason", "not paid")
        assert (ran.status, ran.err) == (exit_codes.OK, "")
    _, facts = await authority.get(f"/v1/licenses/{issued.license_id}")
    assert facts["revoked_at"] is not None
    assert facts["revoke_reason"] == "not paid"


async def test_an_offline_license_is_not_revoked_and_nothing_else_is_said(tmp_path: Path) -> None:
    refusal = answering('{"error": "license 0123 is offline: nobody asks about it"}', status=409)
    async with serving(refusal) as url:
        place = ("--authority", url, "--credential-file", write_credential(tmp_path))
        ran = await streamstack("license", "revoke", "0123", *place)
    assert (ran.status, ran.out) == (exit_codes.REFUSED, "")
    assert ran.err.endswith(" answered 409: license 0123 is offline: nobody asks about it\n")


NOT_UTF8 = "\udcff"  # what Python makes of the byte 0xff


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("license", "issue", "--customer", NOT_UTF8), "--customer"),
        (("license", "issue", "--models", f"english,{NOT_UTF8}"), "--models"),
        (("license", "issue", "--authority", f"https://{NOT_UTF8}.example"), "--authority"),
        (("license", "revoke", NOT_UTF8), "ID"),
        (("license", "revoke", "0123", "--reason", NOT_UTF8), "--reason"),
        (("usage", "report", "--customer", NOT_UTF8), "--customer"),
        (("transcribe", "--speech-model", NOT_UTF8), "--speech-model"),
    ],
)
async def test_bytes_that_are_no_text_are_refused_by_the_options_name(arguments: tuple[str, ...], named: str) -> None:
    ran = await streamstack(*arguments)
    assert ran.status == exit_codes.USAGE
    assert f"error: argument {named}: " in ran.err
    assert ran.err.endswith(": expected UTF-8\n")


async def test_a_license_that_nobody_issued_is_not_revoked(authority: AuthorityProcess) -> None:
    place = ("--authority", authority.url, "--credential-file", authority.credential_file)
    ran = await streamstack("license", "revoke", "0" * 32, *place)
    assert ran.status == exit_codes.REFUSED
    assert "answered 404: license 0000" in ran.err
    ran = await streamstack("license", "revoke", "../../metrics", *place)
    assert ran.status == exit_codes.REFUSED


async def test_a_wrong_credential_is_refused_and_not_repeated(authority: AuthorityProcess, tmp_path: Path) -> None:
    (tmp_path / "wrong").write_text("w" * 32)
    place = ("--authority", authority.url, "--credential-file", tmp_path / "wrong")
    ran = await streamstack("license", "revoke", "0" * 32, *place)
    assert ran.status == exit_codes.REFUSED
    assert "answered 401: expected 'Authorization: Bearer" in ran.err
    assert "wwww" not in ran.err


async def test_what_no_license_can_say_is_refused_in_the_authoritys_words(
    authority: AuthorityProcess, tmp_path: Path
) -> None:
    ran = await issue(authority, tmp_path, "--trust-window-seconds", "99999999", billing="flat")
    assert ran.status == exit_codes.REFUSED
    assert "trust_window_seconds" in ran.err
    assert list(tmp_path.iterdir()) == []


async def test_an_authority_that_is_away_is_said(tmp_path: Path) -> None:
    (tmp_path / "credential").write_text("c" * 32)
    place = ("--authority", "http://127.0.0.1:1", "--credential-file", tmp_path / "credential")
    ran = await streamstack("license", "revoke", "0" * 32, *place)
    assert ran.status == exit_codes.UNREACHABLE
    assert f"POST http://127.0.0.1:1/v1/licenses/{'0' * 32}/revoke: Connection refused" in ran.err


async def test_over_tls_with_an_authority_of_ones_own(tmp_path: Path) -> None:
    certificate, key = write_self_signed(tmp_path, "127.0.0.1")
    tls = {"TLS_CERTIFICATE_FILE": str(certificate), "TLS_KEY_FILE": str(key)}
    async with authority_process(tmp_path, **tls) as authority:
        refused = await issue(authority, tmp_path, billing="flat")
        assert refused.status == exit_codes.UNREACHABLE
        assert "certificate verify failed" in refused.err
        assert (await issue(authority, tmp_path, "--ca-file", certificate, billing="flat")).status == exit_codes.OK
