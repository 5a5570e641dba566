from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamstack_common import credential
from streamstack_common.credential import Credential, CredentialError

OLD, NEW = "0123456789abcdef-old", "0123456789abcdef-new"


@pytest.fixture(autouse=True)
def always_fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credential, "RELOAD_SECONDS", 0.0)


def write(folder: Path, content: str | bytes) -> Path:
    path = folder / "credential"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_the_first_line_is_sent_and_every_line_accepted(tmp_path: Path) -> None:
    both = Credential(write(tmp_path, f"{NEW}\n{OLD}\n"))
    assert both.current() == NEW
    assert both.bearer() == f"Bearer {NEW}"
    assert both.accepts(f"Bearer {NEW}")
    assert both.accepts(f"bearer {OLD}".encode())


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        OLD,
        f"Basic {OLD}",
        f"Bearer {OLD} ",
        f"Bearer {OLD[:-1]}",
        f"Bearer {OLD}x",
        b"\xff",
    ],
)
def test_anything_else_is_refused(tmp_path: Path, header: str | bytes | None) -> None:
    assert not Credential(write(tmp_path, OLD)).accepts(header)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.one_of(st.binary(max_size=60), st.binary(max_size=60).map(lambda raw: raw.decode("utf-8", "surrogateescape")))
)
def test_no_header_breaks_the_comparison(tmp_path: Path, header: str | bytes) -> None:
    assert not Credential(write(tmp_path, OLD)).accepts(header)


def test_a_rotation_with_overlap_is_followed(tmp_path: Path) -> None:
    path = write(tmp_path, OLD)
    token = Credential(path)
    write(tmp_path, f"{NEW}\n{OLD}\n")
    assert token.current() == NEW
    assert token.accepts(f"Bearer {OLD}")
    write(tmp_path, f"{NEW}\n")
    assert not token.accepts(f"Bearer {OLD}")
    assert token.accepts(f"Bearer {NEW}")


def test_a_swapped_symlink_is_followed(tmp_path: Path) -> None:
    (tmp_path / "one").write_text(OLD)
    (tmp_path / "two").write_text(NEW)
    link = tmp_path / "credential"
    link.symlink_to("one")
    token = Credential(link)
    (tmp_path / "new").symlink_to("two")
    (tmp_path / "new").rename(link)
    assert token.current() == NEW


@pytest.mark.parametrize("broken", [b"", b"\n\n", b"short", b"\xff" * 20])
def test_a_rotation_gone_wrong_keeps_the_tokens_in_force(tmp_path: Path, broken: bytes) -> None:
    path = write(tmp_path, OLD)
    token = Credential(path)
    write(tmp_path, broken)
    assert token.current() == OLD
    path.unlink()
    assert token.accepts(f"Bearer {OLD}")
    write(tmp_path, NEW)
    assert token.current() == NEW


def test_between_looks_the_file_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    token = Credential(write(tmp_path, OLD))
    assert token.current() == OLD
    monkeypatch.setattr(credential, "RELOAD_SECONDS", 1e9)
    write(tmp_path, NEW)
    assert token.current() == OLD


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b" \n\t\n",
        b"short",
        f"{OLD}\nshort".encode(),
        b"0123456789abcde\xc3\xa9",
        f"{OLD} {NEW}".encode(),
        b"0" * 20 + b"\0",
    ],
)
def test_a_file_that_holds_no_token_is_refused_without_repeating_it(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(CredentialError, match="expected one token of at least 16") as caught:
        Credential(write(tmp_path, content))
    assert not any(part.decode("latin-1") in str(caught.value) for part in content.split())


def test_windows_line_ends_and_blank_lines_are_no_part_of_a_token(tmp_path: Path) -> None:
    token = Credential(write(tmp_path, f"\r\n{NEW}\r\n\r\n  {OLD}\r\n"))
    assert token.current() == NEW
    assert token.accepts(f"Bearer {OLD}")


def test_an_absent_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CredentialError, match="nowhere: No such file"):
        Credential(tmp_path / "nowhere")
