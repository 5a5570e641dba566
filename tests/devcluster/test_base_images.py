import io
import stat
import tarfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from devcluster import base_images
from devcluster.base_images import LOCAL, PUBLIC, Recipe
from devcluster.cache import Cache
from devcluster.docker import Docker
from devcluster.errors import DevError
from devcluster.steps import Steps

PYTHON = ("BUILD_IMAGE", "BASE_IMAGE")


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


def engine(folder: Path, *, has: Sequence[str] = (), registry: Sequence[str] = ()) -> Docker:
    """A client whose engine has some images and whose registry gives others; it writes down what it was asked."""
    script = folder / "docker"
    script.write_text(
        f"""#!/usr/bin/env python3
import pathlib, sys
asked = sys.argv[1:]
with open({str(folder / "asked")!r}, "a") as file: print(*asked, file=file)
has, registry = {list(has)!r}, {list(registry)!r}
if asked[:2] == ["image", "inspect"]: print("sha256:0"); sys.exit(asked[-1] not in has)
if asked[0] == "pull":
    if asked[-1] in registry: print("latest: Pulling from library"); sys.exit(0)
    print("no such host", file=sys.stderr); sys.exit(1)
sys.exit("unexpected")
"""
    )
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return Docker(binary=str(script), version="20.10")


def choose(docker: Docker, cache: Cache, *, mode: str = "auto", env: dict[str, str] | None = None) -> dict[str, str]:
    return base_images.choose(PYTHON, mode=mode, env=env or {}, docker=docker, cache=cache, steps=Steps(cache.logs))


def pulls(folder: Path) -> list[str]:
    asked = folder / "asked"
    return [line for line in asked.read_text().splitlines() if line.startswith("pull")] if asked.exists() else []


def own() -> dict[str, str]:
    return {name: LOCAL[name].reference for name in PYTHON}


def public() -> dict[str, str]:
    return {name: PUBLIC[name] for name in PYTHON}


def test_public_images_that_the_engine_has_are_taken_without_asking(tmp_path: Path, cache: Cache) -> None:
    docker = engine(tmp_path, has=[*PUBLIC.values(), *own().values()])
    assert choose(docker, cache) == public()
    assert pulls(tmp_path) == []


def test_our_own_that_the_engine_has_are_taken_without_asking(tmp_path: Path, cache: Cache) -> None:
    assert choose(engine(tmp_path, has=list(own().values())), cache) == own()
    assert pulls(tmp_path) == []


def test_where_a_registry_answers_the_public_ones_are_taken(tmp_path: Path, cache: Cache) -> None:
    assert choose(engine(tmp_path, registry=list(PUBLIC.values())), cache) == public()
    assert len(pulls(tmp_path)) == 1


def test_public_is_taken_at_its_word(tmp_path: Path, cache: Cache) -> None:
    assert choose(engine(tmp_path, has=list(own().values())), cache, mode="public") == public()


def test_local_is_taken_at_its_word(tmp_path: Path, cache: Cache) -> None:
    docker = engine(tmp_path, has=[*PUBLIC.values(), *own().values()])
    assert choose(docker, cache, mode="local") == own()


def test_the_environments_images_win(tmp_path: Path, cache: Cache) -> None:
    env = {"BUILD_IMAGE": "mine/build:1", "BASE_IMAGE": "mine/base:1"}
    assert choose(engine(tmp_path), cache, mode="public", env=env) == env
    assert choose(engine(tmp_path), cache, mode="public", env={"BASE_IMAGE": "mine/base:1"}) == {
        "BASE_IMAGE": "mine/base:1",
        "BUILD_IMAGE": PUBLIC["BUILD_IMAGE"],
    }


def test_without_a_registry_and_without_debian_it_says_what_to_bring(
    tmp_path: Path, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base_images.shutil, "which", lambda _name: None)
    with pytest.raises(DevError, match=r"(?s)no image registry answers.*BASE_IMAGE \(like python:3.11"):
        choose(engine(tmp_path), cache)
    assert not list(cache.root.glob("base-*/*")), "nothing half done"


def test_another_recipe_is_another_image() -> None:
    recipe = Recipe("base-x", ("a", "b"), keep=("usr/*",))
    others = [
        Recipe("base-x", ("a",), keep=("usr/*",)),
        Recipe("base-x", ("a", "b"), keep=("usr/bin/*",)),
        Recipe("base-x", ("a", "b"), keep=("usr/*",), files={"etc/x": "1"}),
    ]
    assert recipe.reference == Recipe("base-x", ("a", "b"), keep=("usr/*",)).reference
    assert len({one.reference for one in (recipe, *others)}) == 4


@pytest.mark.parametrize(
    ("packaged", "place"),
    [
        ("./bin/sh", "usr/bin/sh"),
        ("./lib64/ld-linux-x86-64.so.2", "usr/lib64/ld-linux-x86-64.so.2"),
        ("./usr/lib/python3.11/os.py", "usr/lib/python3.11/os.py"),
        ("./etc/bin/x", "etc/bin/x"),
        ("./library/x", "library/x"),
    ],
)
def test_everything_is_under_usr(packaged: str, place: str) -> None:
    assert base_images.merged(packaged) == place


@pytest.mark.parametrize(
    ("path", "kept"),
    [
        ("usr/bin/python3.11", True),
        ("usr/lib/python3.11/asyncio/base_events.py", True),
        ("usr/lib/x86_64-linux-gnu/libssl.so.3", True),
        ("usr/lib/aarch64-linux-gnu/libc.so.6", True),
        ("usr/lib/ld-linux-aarch64.so.1", True),
        ("usr/share/zoneinfo/Europe/Berlin", True),
        ("usr/share/zoneinfo/posix/Europe/Berlin", False),
        ("usr/bin/dash", False),
        ("usr/bin/dpkg", False),
        ("usr/bin/openssl", False),
        ("usr/share/perl5/Debconf/Db.pm", False),
        ("usr/lib/x86_64-linux-gnu/gconv/UTF-7.so", False),
    ],
)
def test_the_python_base_keeps_python_and_what_it_loads(path: str, *, kept: bool) -> None:
    assert LOCAL["BASE_IMAGE"].keeps(path) is kept


def archive(place: Path, files: dict[str, str], links: dict[str, str], hard_links: dict[str, str]) -> None:
    with tarfile.open(place, "w") as tar:
        for path, text in files.items():
            member = tarfile.TarInfo(path)
            member.size, member.mode, member.mtime = len(text), 0o4755, 1_700_000_000
            tar.addfile(member, io.BytesIO(text.encode()))
        for kind, all_links in ((tarfile.SYMTYPE, links), (tarfile.LNKTYPE, hard_links)):
            for path, target in all_links.items():
                member = tarfile.TarInfo(path)
                member.type, member.linkname = kind, target
                tar.addfile(member)


def test_an_image_is_what_its_recipe_keeps_without_times_and_privileges(tmp_path: Path) -> None:
    archive(
        tmp_path / "packages.tar",
        {
            "./bin/tool": "tool",
            "./bin/sh": "shell",
            "./usr/share/zone/first": "zone",
            "./usr/share/ca-certificates/mozilla/B.crt": "B\n",
            "./usr/share/ca-certificates/mozilla/A.crt": "A\n",
            "./etc/own": "packaged",
        },
        {"./lib/libx.so": "libx.so.1"},
        {"./usr/share/zone/second": "./usr/share/zone/first"},
    )
    recipe = Recipe(
        name="base-x",
        packages=(),
        keep=("usr/bin/tool", "usr/lib/libx*", "usr/share/zone/second", "etc/own"),
        moved={"usr/bin/tool": "usr/bin/renamed"},
        links={"var/log/x": "/dev/stderr"},
        files={"etc/own": "ours"},
    )
    base_images._write(recipe, packages=tmp_path / "packages.tar", image=tmp_path / "image.tar")
    with tarfile.open(tmp_path / "image.tar") as tar:
        content = {}
        for member in tar.getmembers():
            file = tar.extractfile(member) if member.isreg() else None
            content[member.name] = file.read().decode() if file else member.linkname
            assert member.mtime == 0
            assert not member.mode & 0o6000
    assert content["usr/bin/renamed"] == "tool"
    assert content["usr/share/zone/second"] == "zone", "a hard link whose other name is not kept"
    assert content["usr/lib/libx.so"] == "libx.so.1"
    assert content["etc/own"] == "ours"
    assert content["var/log/x"] == "/dev/stderr"
    assert content["bin"] == "usr/bin"
    assert content[base_images.CERTIFICATES] == "A\nB\n"
    assert "usr/bin/sh" not in content
    assert "usr/share/zone/first" not in content
