import errno
import io
import json
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamstack_asr.engines.nemotron.facts import ModelError
from streamstack_asr.engines.nemotron.store import download, files
from streamstack_asr.engines.nemotron.store.download import ATTEMPTS, Downloader, Source, default_opener, source
from support.archive_server import Served, serving
from support.certificates import write_self_signed

CONTENT = bytes(range(256)) * 40


@pytest.fixture
def served() -> Iterator[Served]:
    with serving(Served(CONTENT)) as it:
        yield it


@pytest.fixture
def pauses() -> list[float]:
    return []


@pytest.fixture
def downloader(pauses: list[float]) -> Downloader:
    return Downloader(default_opener(), pause=pauses.append)


@pytest.fixture
def part(tmp_path: Path) -> Path:
    return tmp_path / "part"


def wanted(served: Served) -> Source:
    return Source(served.url, served.sha256)


def refused(downloader: Downloader, what: Source, part: Path) -> str:
    with pytest.raises(ModelError) as raised:
        downloader.fetch(what, part)
    assert "secret" not in str(raised.value)
    return str(raised.value)


def test_an_archive_is_fetched_with_one_request(served: Served, downloader: Downloader, part: Path) -> None:
    downloader.fetch(wanted(served), part)
    assert part.read_bytes() == CONTENT
    assert served.requests == [None]


def test_a_file_is_an_archive_too(downloader: Downloader, part: Path, tmp_path: Path, served: Served) -> None:
    (tmp_path / "there.tar").write_bytes(CONTENT)
    downloader.fetch(Source((tmp_path / "there.tar").as_uri(), served.sha256), part)
    assert part.read_bytes() == CONTENT
    assert "cannot be read" in refused(downloader, Source("file:///nowhere/at/all.tar", served.sha256), tmp_path / "b")


@pytest.mark.parametrize("by", ["tag", "modified"])
def test_a_connection_that_ends_is_gone_on_with(
    served: Served, downloader: Downloader, part: Path, pauses: list[float], by: str
) -> None:
    if by == "modified":
        served.tag, served.modified = None, "Tue, 01 Dec 2026 10:00:00 GMT"
    served.cut_at = [1000, 500]
    downloader.fetch(wanted(served), part)
    assert part.read_bytes() == CONTENT
    assert served.requests == [None, "bytes=1000-", "bytes=1500-"]
    assert len(pauses) == 2


def test_another_process_goes_on_where_an_earlier_one_ended(served: Served, downloader: Downloader, part: Path) -> None:
    served.cut_at = [1000]
    ended = replace(downloader, stopping=iter([False, True]).__next__)
    assert "stopped after 1000 bytes" in refused(ended, wanted(served), part)
    assert part.read_bytes() == CONTENT[:1000]
    downloader.fetch(wanted(served), part)
    assert part.read_bytes() == CONTENT
    assert served.requests == [None, "bytes=1000-"]


@pytest.mark.parametrize("tag", ['"two"', 'W/"one"', None])
def test_an_archive_that_changed_or_cannot_be_told_apart_is_fetched_from_its_beginning(
    served: Served, downloader: Downloader, part: Path, tag: str | None
) -> None:
    part.write_bytes(b"x" * 1000)
    download._State.write(part, '"one"')
    served.tag = tag
    downloader.fetch(wanted(served), part)
    assert part.read_bytes() == CONTENT
    assert served.requests == ["bytes=1000-"]


def test_a_part_that_nothing_is_known_of_is_not_gone_on_with(
    served: Served, downloader: Downloader, part: Path
) -> None:
    part.write_bytes(CONTENT[:1000])
    downloader.fetch(wanted(served), part)
    assert served.requests == [None]


def test_a_server_without_ranges_sends_it_all_again(served: Served, downloader: Downloader, part: Path) -> None:
    served.ranges, served.cut_at = False, [1000]
    downloader.fetch(wanted(served), part)
    assert part.read_bytes() == CONTENT


def test_a_server_that_goes_on_elsewhere_is_not_believed(served: Served, downloader: Downloader, part: Path) -> None:
    served.shifted, served.cut_at = 7, [1000]
    downloader.fetch(wanted(served), part)
    assert part.read_bytes() == CONTENT
    assert served.requests == [None, "bytes=1000-", None]


def test_a_part_longer_than_what_the_server_has_is_thrown_away(
    served: Served, downloader: Downloader, part: Path
) -> None:
    part.write_bytes(b"x" * (len(CONTENT) + 1))
    download._State.write(part, '"one"')
    downloader.fetch(wanted(served), part)
    assert part.read_bytes() == CONTENT


def test_a_part_that_is_whole_needs_no_server(served: Served, downloader: Downloader, part: Path) -> None:
    part.write_bytes(CONTENT)
    downloader.fetch(wanted(served), part)
    assert served.requests == []


def test_another_archive_is_refused_and_nothing_of_it_stays(served: Served, downloader: Downloader, part: Path) -> None:
    assert "expected " + "0" * 64 + ": another archive" in refused(downloader, Source(served.url, "0" * 64), part)
    assert list(part.parent.iterdir()) == []


def test_a_server_in_trouble_is_asked_again_and_not_for_ever(
    served: Served, downloader: Downloader, part: Path, pauses: list[float]
) -> None:
    served.failures = [503, 429]
    downloader.fetch(wanted(served), part)
    assert part.read_bytes() == CONTENT
    served.failures = [503] * ATTEMPTS
    assert f"HTTP 503, {ATTEMPTS} times" in refused(downloader, wanted(served), part.with_name("other"))
    assert pauses == [2, 4, 2, 4, 8, 16]


@pytest.mark.parametrize("status", [401, 403, 404])
def test_an_answer_that_will_not_change_is_not_asked_for_again(
    served: Served, downloader: Downloader, part: Path, status: int
) -> None:
    served.failures = [status]
    said = refused(downloader, wanted(served), part)
    assert f"http://127.0.0.1/models/small.tar.gz: HTTP {status}" in said
    assert len(served.requests) == 1


def test_nobody_there_is_said_as_such(downloader: Downloader, part: Path, served: Served) -> None:
    assert "no answer" in refused(downloader, Source("http://127.0.0.1:1/a.tar", served.sha256), part)


def test_a_connection_that_is_reset_is_no_fault_of_the_disk(
    served: Served, downloader: Downloader, part: Path, pauses: list[float]
) -> None:
    part.write_bytes(CONTENT[:1000])
    download._State.write(part, '"one"')
    served.resets = 1
    downloader.fetch(wanted(served), part)
    assert served.requests == ["bytes=1000-", "bytes=1000-"]
    assert len(pauses) == 1


def test_a_certificate_that_is_not_trusted_is_not_asked_for_again(
    served: Served, downloader: Downloader, part: Path, tmp_path: Path, pauses: list[float]
) -> None:
    served.tls = write_self_signed(tmp_path, "localhost")
    with serving(served):
        said = refused(downloader, Source(f"https://localhost:{served.port}/a.tar", served.sha256), part)
    assert "https://localhost/a.tar: its certificate is not trusted (self-signed certificate)" in said
    assert pauses == []


def test_a_redirect_is_followed_but_not_out_of_the_network(
    served: Served, downloader: Downloader, part: Path, tmp_path: Path
) -> None:
    served.redirects = ["/elsewhere"]
    downloader.fetch(wanted(served), part)
    assert part.read_bytes() == CONTENT
    (tmp_path / "own").write_bytes(CONTENT)
    served.redirects = [(tmp_path / "own").as_uri()]
    refused(downloader, wanted(served), tmp_path / "other")


class FullDisk(io.RawIOBase):
    def write(self, _: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_says_so_and_gets_its_space_back(
    served: Served, downloader: Downloader, part: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part.write_bytes(CONTENT[:1000])
    download._State.write(part, '"one"')
    opened = Path.open

    def full(path: Path, mode: str = "r", *others: Any, **named: Any) -> Any:
        return FullDisk() if path == part and mode == "ab" else opened(path, mode, *others, **named)

    monkeypatch.setattr(Path, "open", full)
    said = refused(downloader, wanted(served), part)
    assert "no space left" in said
    assert "GB free" in said
    assert list(part.parent.iterdir()) == []


def test_an_archive_that_will_not_fit_is_not_begun(
    served: Served, downloader: Downloader, part: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "free_bytes", lambda _: len(CONTENT) - 1)
    assert "GB free, expected" in refused(downloader, wanted(served), part)
    assert not part.exists()


def test_an_archive_beyond_all_models_is_not_begun(
    served: Served, downloader: Downloader, part: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "LARGEST_BYTES", len(CONTENT) - 1)
    assert f"expected at most {len(CONTENT) - 1}" in refused(downloader, wanted(served), part)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"validator": 3}'])
def test_a_state_that_cannot_be_read_is_none(
    served: Served, downloader: Downloader, part: Path, content: bytes
) -> None:
    part.write_bytes(CONTENT[:1000])
    part.with_name("part.json").write_bytes(content)
    downloader.fetch(wanted(served), part)
    assert served.requests == [None]


@given(cuts=st.lists(st.integers(1, 3000), max_size=6))
@settings(max_examples=30, deadline=None)
def test_however_often_it_ends_the_archive_is_whole(cuts: list[int], tmp_path_factory: pytest.TempPathFactory) -> None:
    part = tmp_path_factory.mktemp("parts") / "part"
    with serving(Served(CONTENT, cut_at=list(cuts))) as it:
        Downloader(default_opener(), pause=lambda _: None).fetch(wanted(it), part)
    assert part.read_bytes() == CONTENT


DIGEST = "ab" * 32


@pytest.mark.parametrize(
    ("url", "sha256", "expected"),
    [
        ("https://models.test/a.tar", DIGEST, Source("https://models.test/a.tar", DIGEST)),
        (f"https://models.test/a.tar#sha256={DIGEST.upper()}", "", Source("https://models.test/a.tar", DIGEST)),
        (f" http://models.test/a?b=c#sha256={DIGEST}", DIGEST, Source("http://models.test/a?b=c", DIGEST)),
        ("file:///models/a.tar", DIGEST, Source("file:///models/a.tar", DIGEST)),
    ],
)
def test_an_archive_is_named_with_its_digest(url: str, sha256: str, expected: Source) -> None:
    assert source(url, sha256) == expected


@pytest.mark.parametrize(
    ("url", "sha256", "complaint"),
    [
        ("https://models.test/a.tar", "", "SHA-256 of https://models.test/a.tar is nothing, expected 64 digits"),
        ("https://models.test/a.tar", "abc", "is abc, expected 64 digits in MODEL_ARCHIVE_SHA256"),
        (f"https://models.test/a.tar#sha256={DIGEST}", "cd" * 32, " and "),
        ("ftp://models.test/a.tar", DIGEST, "MODEL_ARCHIVE is 'ftp://models.test/a.tar', expected a URL with https"),
        ("/models/a.tar", DIGEST, "expected a URL with https, http, file"),
        ("https:///a.tar", DIGEST, "expected a URL with"),
        ("http://[bad/a", DIGEST, "MODEL_ARCHIVE is no URL"),
        ("https://user:secret@models.test/a", DIGEST, "names a user for https://models.test/a, expected none"),
    ],
)
def test_an_archive_that_cannot_be_meant_is_refused(url: str, sha256: str, complaint: str) -> None:
    with pytest.raises(ModelError) as raised:
        source(url, sha256)
    assert complaint in str(raised.value)
    assert "secret" not in str(raised.value)


def test_what_is_secret_in_a_url_is_not_shown() -> None:
    shown = Source("https://user:password@models.test:8443/a.tar?signature=secret", DIGEST).shown
    assert shown == "https://models.test/a.tar"


def test_an_opener_uses_the_networks_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://proxy.test:3128")
    (proxies,) = [handler for handler in default_opener().handlers if isinstance(handler, urllib.request.ProxyHandler)]
    assert json.dumps(proxies.proxies).count("proxy.test") == 1  # type: ignore[attr-defined]
