"""Credentials that Compose's one-shot service makes."""

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from streamstack_common.credential import Credential, CredentialError
from streamstack_common.make_credential import main, make


def test_a_token_is_made_that_every_service_takes(tmp_path: Path) -> None:
    path = tmp_path / "credential"
    assert make(path) is True
    credential = Credential(path)
    assert credential.accepts(credential.bearer())
    assert len(credential.current()) >= 32


def test_no_two_tokens_are_the_same(tmp_path: Path) -> None:
    assert main([str(tmp_path / name) for name in "abc"]) == 0
    assert len({(tmp_path / name).read_text() for name in "abc"}) == 3


def test_only_its_own_user_may_read_it_and_nobody_write_it(tmp_path: Path) -> None:
    make(tmp_path / "credential")
    assert stat.S_IMODE((tmp_path / "credential").stat().st_mode) == 0o400


def test_a_token_that_is_there_is_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "credential"
    assert main([str(path)]) == 0
    token = path.read_text()
    assert main([str(path)]) == 0
    assert path.read_text() == token
    said = capsys.readouterr()
    assert said.out.splitlines() == [f"{path}: made", f"{path}: kept"]
    assert token.strip() not in said.out + said.err


def test_nothing_else_is_left_in_the_folder(tmp_path: Path) -> None:
    make(tmp_path / "credential")
    make(tmp_path / "credential")
    assert [path.name for path in tmp_path.iterdir()] == ["credential"]


def test_many_that_make_it_at_once_agree_on_one(tmp_path: Path) -> None:
    path = tmp_path / "credential"
    with ThreadPoolExecutor(16) as pool:
        made = list(pool.map(lambda _: make(path), range(64)))
    assert made.count(True) == 1
    Credential(path)
    assert [path.name for path in tmp_path.iterdir()] == ["credential"]


@pytest.mark.parametrize("content", ["", "short\n", "with spaces in it and long enough\n"])
def test_an_unusable_file_is_refused_and_left_as_it_is(tmp_path: Path, content: str) -> None:
    path = tmp_path / "credential"
    path.write_text(content)
    with pytest.raises(CredentialError, match=r"expected one token.*remove it to have a new one made"):
        make(path)
    assert path.read_text() == content


def test_a_folder_that_is_not_there_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "absent" / "credential")]) == 2
    said = capsys.readouterr().err
    assert f"credential file {tmp_path}/absent/credential: No such file or directory" in said
    assert f"user {os.getuid()}" in said


def test_without_a_path_it_says_how_it_is_used(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "PATH..." in capsys.readouterr().err
