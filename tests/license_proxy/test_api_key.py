import os
from pathlib import Path

import pytest

from streamstack_license_proxy import api_key
from streamstack_license_proxy.api_key import ApiKeyError, FixedKey, KeyFile, checked


@pytest.mark.parametrize(
    "key", ["", "short", "two words", "x" * 513, "line\nbreaks", "umlaut-ü-umlaut", "nul\0nul-nul"]
)
def test_what_cannot_be_sent_is_no_key_and_is_not_repeated(key: str) -> None:
    with pytest.raises(ApiKeyError, match="expected one key of 8 to 512") as caught:
        checked(key)
    assert not key or key not in str(caught.value)


def test_whitespace_around_a_key_is_not_of_it() -> None:
    assert checked("  ssk_0123456789\n") == "ssk_0123456789"


def test_without_a_setting_there_is_none() -> None:
    assert FixedKey(None)() is None
    assert FixedKey("ssk_0123456789")() == "ssk_0123456789"


def test_a_file_is_read_again_and_an_unusable_one_leaves_the_key_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(api_key, "RELOAD_SECONDS", 0.0)
    path = tmp_path / "key"
    path.write_text("first-key\n")
    key = KeyFile(path)
    assert key() == "first-key"
    for spoiled in (b"", b"a b", b"\xff" * 20, b"x" * 5000):
        path.write_bytes(spoiled)
        assert key() == "first-key"
    assert len(caplog.records) == 1
    path.unlink()
    assert key() == "first-key"
    assert os.strerror(2) in caplog.records[-1].getMessage()
    path.write_text("second-key")
    assert key() == "second-key"
    assert "first-key" not in caplog.text


@pytest.mark.parametrize("content", [None, b"", b"a key with spaces"])
def test_a_file_without_a_key_is_refused_at_the_start(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "key"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ApiKeyError, match="USAGE_TRACKING_API_KEY_FILE") as caught:
        KeyFile(path)
    assert "a key with spaces" not in str(caught.value)
