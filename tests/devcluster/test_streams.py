import sys
from pathlib import Path

import pytest

from devcluster.errors import DevError
from devcluster.streams import pour

SIZE = 3 << 20


def copier(target: Path) -> list[str | Path]:
    return ["sh", "-c", 'cat > "$0"', target]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


def test_what_a_program_prints_reaches_every_sink_whole(tmp_path: Path, log: Path) -> None:
    source = [sys.executable, "-c", f"import sys; sys.stdout.buffer.write(bytes(range(256)) * {SIZE // 256})"]
    targets = [tmp_path / "one", tmp_path / "two"]
    pour(source, [copier(target) for target in targets], env={}, log=log)
    assert [target.read_bytes() for target in targets] == [bytes(range(256)) * (SIZE // 256)] * 2


def test_a_file_is_a_source_as_well(tmp_path: Path, log: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(b"x" * SIZE)
    pour(source, [copier(target)], env={}, log=log)
    assert target.read_bytes() == source.read_bytes()


def test_a_sink_that_ends_early_is_named_with_its_words_and_the_others_end(tmp_path: Path, log: Path) -> None:
    failing = ["sh", "-c", "echo no room >&2; exit 7"]
    source = ["sh", "-c", "while :; do echo more; done"]
    with pytest.raises(DevError, match=r"(?s)status 7.*no room"):
        pour(source, [failing, copier(tmp_path / "other")], env={}, log=log)


def test_a_source_that_fails_is_named(tmp_path: Path, log: Path) -> None:
    with pytest.raises(DevError, match=r"(?s)`sh -c .*` ended with status 3.*no such image"):
        pour(["sh", "-c", "echo no such image >&2; exit 3"], [copier(tmp_path / "target")], env={}, log=log)
