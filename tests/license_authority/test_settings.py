from pathlib import Path

import pytest

from streamstack_common.settings import load
from streamstack_license_authority.settings import LicenseAuthoritySettings

GOOD = {"STREAMSTACK_CREDENTIAL_FILE": "credential", "HOST": "127.0.0.1", "STATE_DIR": "/state"}


def settings(monkeypatch: pytest.MonkeyPatch, **environment: str) -> LicenseAuthoritySettings:
    for name, value in {**GOOD, **environment}.items():
        monkeypatch.setenv(name, value)
    return load(LicenseAuthoritySettings, [])


def test_state_is_in_one_folder_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    found = settings(monkeypatch)
    assert str(found.database) == "sqlite:////state/ledger.sqlite3"
    assert found.signing_key == Path("/state/signing-key.pem")
    assert found.former_signing_keys == ()
    assert found.orphan_after_seconds == 21_600


def test_former_keys_may_have_names(monkeypatch: pytest.MonkeyPatch) -> None:
    found = settings(monkeypatch, FORMER_SIGNING_KEY_FILES="/keys/a.pem, b-1=/keys/b.pem,")
    assert found.former_signing_keys == ((None, Path("/keys/a.pem")), ("b-1", Path("/keys/b.pem")))


@pytest.mark.parametrize(
    ("environment", "complaint"),
    [
        ({"PORT": "70000"}, "--port / PORT"),
        ({"PUBLIC_URL": "ftp://authority"}, "--public-url / PUBLIC_URL"),
        ({"HOST": "0.0.0.0"}, "PUBLIC_URL: expected the URL that customers use"),
        ({"TLS_KEY_FILE": "key.pem"}, "expected both or neither"),
        ({"ORPHAN_AFTER_SECONDS": "0"}, "--orphan-after-seconds / ORPHAN_AFTER_SECONDS"),
        ({"DATABASE_URL": "secret"}, "expected a database URL"),
        ({"DATABASE_URL": "mysql://u:secret@host/db"}, "expected sqlite or postgresql+psycopg"),
        ({"DATABASE_URL": "postgresql+psycopg://u:secret@host:x/db"}, "DATABASE_URL: expected a number for the port"),
        ({"DATABASE_URL": "postgresql+psycopg://u:secret@host:70000/db"}, "DATABASE_URL: port 70000: expected 1 to"),
        ({"DATABASE_URL": "sqlite://"}, "expected sqlite:///FILE"),
        ({"SIGNING_KEY_ID": "a b"}, "--signing-key-id / SIGNING_KEY_ID"),
    ],
)
def test_what_makes_no_sense_is_named_and_no_secret_shown(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    environment: dict[str, str],
    complaint: str,
) -> None:
    with pytest.raises(SystemExit) as caught:
        settings(monkeypatch, **environment)
    assert caught.value.code == 2
    said = capsys.readouterr().err
    assert complaint in said
    assert "secret" not in said


def test_a_password_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    found = settings(monkeypatch, DATABASE_URL="postgresql+psycopg://u:secret@host/db")
    assert "secret" not in repr(found)
    assert "secret" not in str(found.database)
    assert found.database.password
