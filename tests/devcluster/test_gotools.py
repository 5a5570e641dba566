import io
import re
from pathlib import Path

import pytest

from devcluster import gotools, versions
from devcluster.cache import Cache
from devcluster.errors import DevError
from devcluster.gotools import MODULES, TOOLS, GoTool, build, tool_key
from devcluster.steps import Steps


def put_go(folder: Path, *, version: str, build: str = "exit 1") -> None:
    """Make a `go` that says its version and builds as told; `$out` is what comes after -o."""
    program = folder / "go"
    program.write_text(
        "#!/bin/sh\n"
        f'if [ "$1" = env ]; then echo {version}; exit; fi\n'
        'while [ "$1" != -o ]; do shift; done; out=$2\n'
        f"{build}\n"
    )
    program.chmod(0o755)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a test need no six free gigabytes."""
    monkeypatch.setattr(gotools, "BUILD_GIGABYTES", 0.0)


@pytest.mark.parametrize("name", TOOLS)
def test_every_program_is_pinned_by_its_module(name: str) -> None:
    folder = MODULES / TOOLS[name].module
    assert (folder / "go.sum").stat().st_size > 0
    pinned = re.findall(r"^(?:tool )?\s*(\S+)$", (folder / "go.mod").read_text().partition("\ntool ")[2], re.MULTILINE)
    assert TOOLS[name].package in pinned


@pytest.mark.parametrize(
    ("module", "required"),
    [
        ("kubernetes", f"k8s.io/kubernetes {versions.KUBERNETES}"),
        ("traefik", f"github.com/traefik/traefik/v3 {versions.TRAEFIK_TAG}"),
        ("etcd", f"go.etcd.io/etcd/server/v3 v{versions.ETCD_TAG.partition('-')[0]}"),
    ],
)
def test_what_is_pinned_is_the_version_that_the_rest_speaks_of(module: str, required: str) -> None:
    assert f"{required} " in f"{(MODULES / module / 'go.mod').read_text()} ".replace("\n", " ")


def test_compose_says_the_version_that_it_is() -> None:
    stamped = re.search(r"internal\.Version=(\S+)", TOOLS["docker-compose"].stamps)
    assert stamped is not None
    assert f"github.com/docker/compose/v2 {stamped[1]}" in (MODULES / "compose/go.mod").read_text()


def test_a_key_is_of_everything_a_program_is_made_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = tmp_path / "tool"
    module.mkdir()
    (module / "go.mod").write_text("module a\n")
    (module / "go.sum").write_text("a h1:x\n")
    monkeypatch.setattr(gotools, "MODULES", tmp_path)
    monkeypatch.setitem(TOOLS, "tool", GoTool("tool", "example.org/tool"))
    keys = [tool_key("tool")]
    assert tool_key("tool") == keys[0]
    (module / "go.sum").write_text("a h1:y\n")
    keys.append(tool_key("tool"))
    monkeypatch.setitem(TOOLS, "tool", GoTool("tool", "example.org/tool", stamps="-X a=b"))
    keys.append(tool_key("tool"))
    monkeypatch.setattr("platform.machine", lambda: "another")
    keys.append(tool_key("tool"))
    assert len(set(keys)) == len(keys)


def test_a_program_that_was_built_is_not_built_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small: None
) -> None:
    put_go(tmp_path, version="go1.26.8", build='echo built >"$out"; echo once >>"$(dirname "$0")/builds"')
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    cache = Cache(tmp_path / "cache")
    steps = Steps(cache.logs, out=io.StringIO())
    place = build("kind", cache=cache, steps=steps)
    assert place.read_text() == "built\n"
    assert build("kind", cache=cache, steps=steps) == place
    assert (tmp_path / "builds").read_text() == "once\n"


def test_a_build_that_fails_keeps_nothing_and_shows_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small: None
) -> None:
    put_go(tmp_path, version="go1.26.8", build='echo half >"$out"; echo "dial tcp: no route to host"; exit 1')
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    cache = Cache(tmp_path / "cache")
    with pytest.raises(DevError, match="no route to host") as failed:
        build("kind", cache=cache, steps=Steps(cache.logs, out=io.StringIO()))
    assert "Go module" in failed.value.do
    assert list((cache.root / "tools").iterdir()) == []


@pytest.mark.parametrize("version", ["go1.20.14", "go1.9", "devel"])
def test_a_go_that_is_too_old_to_fetch_another_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    put_go(tmp_path, version=version)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    cache = Cache(tmp_path / "cache")
    with pytest.raises(DevError, match=r"expected go1\.21 or later"):
        build("kind", cache=cache, steps=Steps(cache.logs, out=io.StringIO()))


def test_no_go_at_all_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    cache = Cache(tmp_path / "cache")
    with pytest.raises(DevError, match="no `go` on PATH"):
        build("kind", cache=cache, steps=Steps(cache.logs, out=io.StringIO()))


def test_too_little_space_is_told_before_the_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_go(tmp_path, version="go1.26.8")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(gotools, "BUILD_GIGABYTES", 1e9)
    cache = Cache(tmp_path / "cache")
    with pytest.raises(DevError, match="building kind needs"):
        build("kind", cache=cache, steps=Steps(cache.logs, out=io.StringIO()))
