"""``streamstack license inspect``: what a license says, and how far that can be believed."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamstack_cli import exit_codes
from streamstack_cli.__main__ import main
from streamstack_cli.license_files import duration
from support.signer import Signer, claims

NOW = int(time.time())
DAY = 86_400


@pytest.fixture(scope="module")
def signer() -> Signer:
    return Signer()


def current(**changes: Any) -> dict[str, Any]:
    return claims(**{"iat": NOW, "nbf": NOW - 60, "exp": NOW + 30 * DAY, "offline": False, **changes})


@pytest.fixture
def inspect(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, dict[str, str], str]]:
    """Inspect a token: exit status, facts by name, and what was said beside them."""

    def run(token: bytes, *more: str) -> tuple[int, dict[str, str], str]:
        (tmp_path / "license.jwt").write_bytes(token + b"\n")
        status = main(["license", "inspect", str(tmp_path / "license.jwt"), *more])
        out, err = capsys.readouterr()
        return status, {line[:11].strip(): line[11:] for line in out.splitlines()}, err

    return run


@pytest.fixture
def keys(tmp_path: Path, signer: Signer) -> str:
    (tmp_path / "keys.json").write_bytes(signer.jwks())
    return str(tmp_path / "keys.json")


def test_a_good_license_is_told_claim_by_claim(inspect: Any, signer: Signer, keys: str) -> None:
    token = signer.sign(current(iss="https://authority.example", max_sessions=50, trust_window_seconds=345_600))
    status, facts, err = inspect(token, "--keys", keys)
    assert (status, err) == (exit_codes.OK, "")
    assert facts.pop("valid from").endswith(" UTC")
    assert facts.pop("expires").endswith(" UTC")
    assert facts.pop("now").startswith("valid, for 29 days 23 hours")
    assert facts == {
        "license": "license-1",
        "customer": "acme",
        "billing": "usage: sessions are reported",
        "sessions": "50 at once",
        "models": "english, multilingual",
        "authority": "https://authority.example",
        "trust": "4 days after the last good check-in",
        "signature": f"good, by key {signer.kid}",
    }


def test_a_license_that_asks_nobody_says_so(inspect: Any, signer: Signer, keys: str) -> None:
    _, facts, _ = inspect(
        signer.sign(current(offline=True, billing="flat", models=["*"], max_sessions=None)), "--keys", keys
    )
    assert facts["authority"] == "not asked: an offline license"
    assert facts["trust"] == "by its dates alone"
    assert facts["billing"] == "flat: nothing is reported"
    assert (facts["models"], facts["sessions"]) == ("any", "without limit")


def test_without_keys_nobody_vouches_for_what_it_says(inspect: Any, signer: Signer) -> None:
    status, facts, _ = inspect(signer.sign(current()))
    assert status == exit_codes.OK
    assert facts["customer"] == "acme"
    assert facts["signature"].startswith("NOT CHECKED")


@pytest.mark.parametrize("with_keys", [True, False])
@pytest.mark.parametrize(
    ("changes", "cause", "told"),
    [
        ({"exp": NOW - DAY, "nbf": NOW - 2 * DAY}, "expired", "EXPIRED 1 day"),
        ({"nbf": NOW + DAY}, "not_yet_valid", "NOT VALID YET: in 23 hours"),
    ],
)
def test_outside_its_dates_it_is_told_and_refused(
    inspect: Any, signer: Signer, keys: str, changes: dict[str, int], cause: str, told: str, with_keys: bool
) -> None:
    status, facts, err = inspect(signer.sign(current(**changes)), *(("--keys", keys) if with_keys else ()))
    assert status == exit_codes.INVALID
    assert facts["now"].startswith(told)
    assert f"license.jwt: {cause}: " in err


@pytest.mark.parametrize("with_keys", [True, False])
@pytest.mark.parametrize(
    ("token", "cause"),
    [
        (b"not a token", "malformed"),
        (b"A" * 70_000, "oversized_file"),
        (jwt.encode(current(), "secret" * 10, algorithm="HS256").encode(), "algorithm_not_allowed"),
        (current(aud="something else"), "wrong_audience"),
        (current(sub=None), "bad_claims"),
        (current(billing="by the word"), "bad_claims"),
    ],
    ids=["malformed", "oversized", "algorithm", "audience", "no customer", "billing"],
)
def test_what_is_no_license_is_refused_by_name(
    inspect: Any, signer: Signer, keys: str, token: bytes | dict[str, Any], cause: str, with_keys: bool
) -> None:
    content = token if isinstance(token, bytes) else signer.sign(token)
    status, facts, err = inspect(content, *(("--keys", keys) if with_keys else ()))
    assert (status, facts) == (exit_codes.INVALID, {})
    assert f"license.jwt: {cause}: " in err
    assert content[:40].decode() not in err or len(content) < 40


def test_a_license_of_somebody_else_is_refused(inspect: Any, keys: str) -> None:
    status, _, err = inspect(Signer("stranger").sign(current()), "--keys", keys)
    assert status == exit_codes.INVALID
    assert 'unknown_key: signed with key "stranger"; expected one of test-1' in err
    status, _, err = inspect(Signer("test-1").sign(current()), "--keys", keys)
    assert status == exit_codes.INVALID
    assert "forged_signature" in err


def test_a_terminal_is_told_nothing_that_it_would_obey(inspect: Any, signer: Signer) -> None:
    _, facts, _ = inspect(signer.sign(current(sub="acme\x1b[2J\nsignature  good")))
    assert facts["customer"] == "acme [2J signature  good"
    assert facts["signature"].startswith("NOT CHECKED")


@pytest.mark.parametrize("kind", ["nothing", "folder", "fifo"])
def test_a_file_that_is_none_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str) -> None:
    path = tmp_path / "license.jwt"
    if kind == "folder":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    assert main(["license", "inspect", str(path)]) == exit_codes.INVALID
    err = capsys.readouterr().err
    assert str(path) in err
    assert ("missing_file" if kind == "nothing" else "unreadable_file") in err


@pytest.mark.parametrize(
    "document", [b"{}", b'{"keys": []}', b"no json", json.dumps({"keys": [{"kid": "a"}]}).encode()]
)
def test_keys_that_are_none_are_refused(inspect: Any, signer: Signer, tmp_path: Path, document: bytes) -> None:
    (tmp_path / "keys.json").write_bytes(document)
    with pytest.raises(SystemExit, match="2"):
        inspect(signer.sign(current()), "--keys", str(tmp_path / "keys.json"))


@given(st.integers(0, 10**9))
def test_a_duration_is_never_told_longer_than_it_is(seconds: int) -> None:
    lengths = {"day": DAY, "hour": 3600, "minute": 60, "second": 1}
    words = duration(seconds).split()
    told = sum(int(count) * lengths[unit.rstrip("s")] for count, unit in zip(words[::2], words[1::2], strict=True))
    assert told <= seconds < told + lengths[words[-1].rstrip("s")]
