"""``streamstack trial``: files for Compose, and none of anybody's touched."""

import json
import os
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamstack_cli import exit_codes
from streamstack_cli.__main__ import main
from streamstack_cli.trial import TrialError, fill, settings
from streamstack_common.keyring import parse_jwks
from streamstack_common.license import verify
from streamstack_license_proxy.vendor_keys import vendor_keyring

EXAMPLE = (Path(__file__).parents[2] / ".env.example").read_text()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / ".env.example").write_text(EXAMPLE)
    return tmp_path


def trial(folder: Path, *more: str) -> int:
    return main(["trial", "--folder", str(folder), *more])


def variables(text: str) -> dict[str, str]:
    """What Compose would read: lines that are not commented."""
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_the_license_proxy_takes_the_license_with_the_keys_beside_it(folder: Path) -> None:
    assert trial(folder, "--days", "7") == exit_codes.OK
    ring = vendor_keyring().with_extra(parse_jwks((folder / "license-keys.json").read_bytes(), source="trial"))
    license_ = verify((folder / "license.jwt").read_bytes(), ring)
    days = (license_.expires_at - datetime.now(UTC)).total_seconds() / 86_400
    assert 6.9 < days <= 7


def test_compose_is_told_where_the_files_are_and_what_to_run(folder: Path) -> None:
    assert trial(folder) == exit_codes.OK
    told = variables((folder / ".env").read_text())
    assert told.keys() == {"COMPOSE_PROFILES", "LICENSE_FILE_PATH", "LICENSE_EXTRA_KEYS_FILE", "MAX_OPEN_STREAMS"}
    assert told["COMPOSE_PROFILES"] == "sphinx"
    assert (folder / told["LICENSE_FILE_PATH"]).is_file()
    assert (folder / told["LICENSE_EXTRA_KEYS_FILE"]).is_file()


def test_the_rest_of_the_settings_stays_as_the_example_has_it(folder: Path) -> None:
    trial(folder)
    before, after = EXAMPLE.splitlines(), (folder / ".env").read_text().splitlines()
    assert len(before) == len(after)
    changed = {new.partition("=")[0] for old, new in zip(before, after, strict=True) if old != new}
    assert changed <= settings(cores=1).keys()


def test_the_container_may_read_the_license_and_nobody_else_the_settings(folder: Path) -> None:
    umask = os.umask(0o077)
    try:
        trial(folder)
    finally:
        os.umask(umask)
    modes = {
        name: stat.S_IMODE((folder / name).stat().st_mode) for name in ("license.jwt", "license-keys.json", ".env")
    }
    assert modes == {"license.jwt": 0o644, "license-keys.json": 0o644, ".env": 0o600}


def test_the_private_key_is_in_no_file(folder: Path) -> None:
    trial(folder)
    keys = json.loads((folder / "license-keys.json").read_text())["keys"]
    assert [key.keys() & {"d", "k", "p", "q"} for key in keys] == [set()]
    assert names(folder) == {".env.example", ".env", "license.jwt", "license-keys.json"}
    assert "PRIVATE" not in "".join((folder / name).read_text() for name in names(folder))


@pytest.mark.parametrize("there", ["license.jwt", "license-keys.json"])
def test_a_license_that_is_there_is_never_overwritten(
    folder: Path, there: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / there).write_text("mine")
    before = names(folder)
    assert trial(folder) == exit_codes.USAGE
    assert (folder / there).read_text() == "mine"
    assert names(folder) == before
    assert f"{folder / there} is there already" in capsys.readouterr().err


def test_settings_that_are_there_stay_and_what_they_need_is_said(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / ".env").write_text("AAI_WSS_PORT=9000\n")
    assert trial(folder) == exit_codes.OK
    assert (folder / ".env").read_text() == "AAI_WSS_PORT=9000\n"
    assert (folder / "license.jwt").is_file()
    out = capsys.readouterr().out
    assert "stays as it is" in out
    assert {"COMPOSE_PROFILES=sphinx", "LICENSE_FILE_PATH=./license.jwt"} <= {line.strip() for line in out.splitlines()}


def test_a_second_trial_changes_nothing(folder: Path) -> None:
    trial(folder)
    before = {name: (folder / name).read_text() for name in names(folder)}
    assert trial(folder) == exit_codes.USAGE
    assert {name: (folder / name).read_text() for name in names(folder)} == before


def test_a_folder_without_the_example_is_refused_and_left_empty(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert trial(tmp_path) == exit_codes.USAGE
    assert f"{tmp_path / '.env.example'}: no such file: expected the folder of compose.yaml" in capsys.readouterr().err
    assert names(tmp_path) == set()


def test_a_folder_that_cannot_take_files_is_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert trial(tmp_path / "file") == exit_codes.USAGE
    assert "Not a directory" in capsys.readouterr().err


@pytest.mark.parametrize("days", ["0", "366", "-1", "many"])
def test_a_lifetime_that_makes_no_trial_is_refused(folder: Path, days: str) -> None:
    with pytest.raises(SystemExit, match="2"):
        trial(folder, "--days", days)
    assert names(folder) == {".env.example"}


@given(st.integers(1, 512))
def test_both_pools_together_never_take_more_than_the_cores_carry(cores: int) -> None:
    slots = int(settings(cores=cores)["MAX_OPEN_STREAMS"])
    assert slots >= 1
    assert 2 * slots <= 5 * cores


def test_a_value_goes_where_its_commented_line_was_word_for_word() -> None:
    assert fill("# A=1\n# AB=2\nC=\n", {"A": r"\1", "C": "c"}) == "A=\\1\n# AB=2\nC=c\n"


@pytest.mark.parametrize("template", ["", "XA=1\n", "A=1\n# A=2\n"])
def test_an_example_without_exactly_one_line_for_a_setting_is_refused(template: str) -> None:
    with pytest.raises(TrialError, match="expected one line with A="):
        fill(template, {"A": "1"})
