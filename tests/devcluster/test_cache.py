import errno
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from devcluster import cache as cache_module
from devcluster.cache import Cache, content_key, default_root, require_space
from devcluster.errors import DevError

HACK = Path(cache_module.__file__).parent.parent

# Makes the entry tools/key slowly; one line says when it begins, one what it got.
MAKER = """
import sys
from pathlib import Path
from devcluster import cache as cache_module
from devcluster.cache import Cache
with Cache(Path(sys.argv[1])).made("tools", "key") as folder:
    if folder is not None:
        print("making", flush=True)
        (folder / "half").write_text("half")
        sys.stdin.readline()
        (folder / "whole").write_text("whole")
print("had it" if folder is None else "made it", flush=True)
"""


def start_maker(root: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", MAKER, str(root)],
        env={**os.environ, "PYTHONPATH": str(HACK)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def first_line(maker: "subprocess.Popen[str]") -> str:
    assert maker.stdout is not None
    return maker.stdout.readline().strip()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], check=False)
    if mounted.returncode != 0:
        pytest.skip("this machine lets nobody mount")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_an_entry_appears_whole_and_is_made_once(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    with cache.made("tools", "key") as folder:
        assert folder is not None
        assert not cache.place("tools", "key").exists()
        (folder / "tool").write_text("built")
    assert (cache.place("tools", "key") / "tool").read_text() == "built"
    with cache.made("tools", "key") as folder:
        assert folder is None


@pytest.mark.parametrize("ending", [DevError("no", do="nothing"), KeyboardInterrupt()])
def test_an_interrupted_making_keeps_nothing(tmp_path: Path, ending: BaseException) -> None:
    cache = Cache(tmp_path)

    def make() -> None:
        with cache.made("tools", "key") as folder:
            assert folder is not None
            (folder / "half").write_text("half")
            raise ending

    with pytest.raises(type(ending)):
        make()
    assert list((tmp_path / "tools").iterdir()) == []


def test_two_processes_that_want_the_same_entry_make_it_once(tmp_path: Path) -> None:
    with start_maker(tmp_path) as first:
        assert first_line(first) == "making"
        with start_maker(tmp_path) as second:
            assert first.stdin is not None
            first.stdin.write("\n")
            first.stdin.flush()
            assert first_line(first) == "made it"
            assert first_line(second) == "had it"


def test_a_killed_maker_leaves_neither_an_entry_nor_a_lock(tmp_path: Path) -> None:
    with start_maker(tmp_path) as killed:
        assert first_line(killed) == "making"
        killed.send_signal(signal.SIGKILL)
    assert not (tmp_path / "tools/key").exists()
    with start_maker(tmp_path) as next_one:
        assert first_line(next_one) == "making"
        assert next_one.stdin is not None
        next_one.stdin.write("\n")
        next_one.stdin.flush()
        assert first_line(next_one) == "made it"
    assert sorted(path.name for path in (tmp_path / "tools/key").iterdir()) == ["half", "whole"]
    assert [path.name for path in (tmp_path / "tools").iterdir()] == ["key"], "half of what was killed is gone"


@pytest.mark.parametrize("written", ["0", "2", "", "1.5"])
def test_a_cache_folder_from_another_version_is_refused(tmp_path: Path, written: str) -> None:
    (tmp_path / "FORMAT").write_text(written)
    with pytest.raises(DevError, match="written by another version") as refused:
        Cache(tmp_path)
    assert "STREAMSTACK_CACHE" in refused.value.do


def test_a_full_disk_is_told_and_the_half_made_entry_goes(small_disk: Path) -> None:
    cache = Cache(small_disk)

    def make() -> None:
        with cache.made("tools", "key") as folder:
            assert folder is not None
            (folder / "big").write_bytes(bytes(2 << 20))

    with pytest.raises(DevError, match=os.strerror(errno.ENOSPC)) as full:
        make()
    assert str(small_disk) in full.value.what
    assert "df -h" in full.value.do
    assert list((small_disk / "tools").iterdir()) == []


def test_what_would_fill_the_disk_is_not_begun(small_disk: Path) -> None:
    with pytest.raises(DevError, match=r"a node image needs 3 GB in .*, 0\.0 GB are free"):
        require_space(small_disk, 3, purpose="a node image")
    require_space(small_disk, 0.0005, purpose="a small thing")


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DevError, match=r"Not a directory|File exists"):
        Cache(tmp_path / "file" / "cache")


def test_the_folder_is_chosen_by_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("STREAMSTACK_CACHE", raising=False)
    assert default_root() == Path("/home/somebody/.cache/streamstack")
    monkeypatch.setenv("XDG_CACHE_HOME", "/var/cache/somebody")
    assert default_root() == Path("/var/cache/somebody/streamstack")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STREAMSTACK_CACHE", "mine")
    assert default_root() == tmp_path / "mine"


def test_a_key_is_of_names_and_contents_in_any_order() -> None:
    key = content_key({"go.mod": b"module a", "version": "1"})
    assert content_key({"version": "1", "go.mod": b"module a"}) == key
    assert content_key({"version": b"1", "go.mod": "module a"}) == key


@pytest.mark.parametrize(
    "other",
    [
        {"go.mod": b"module b", "version": "1"},
        {"go.sum": b"module a", "version": "1"},
        {"go.mod": b"module a"},
        {"go.mod": b"module aversion\x001\x001"},
        {"go.mod": b"module ", "aversion": "1"},
    ],
)
def test_another_name_or_content_is_another_key(other: dict[str, str | bytes]) -> None:
    assert content_key(other) != content_key({"go.mod": b"module a", "version": "1"})
