"""What cannot be started is refused with a reason, and leaves nothing but its log."""

import io
import json
from pathlib import Path

import pytest

from devcluster import control_plane as control_planes
from devcluster import gotools, processes
from devcluster.cache import Cache
from devcluster.control_plane import ControlPlaneFacts, ports
from devcluster.errors import DevError
from devcluster.steps import Steps

NAME = "refused"


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    """A cache in which every program is one that ends at once, so nothing is built."""
    cache = Cache(tmp_path / "cache")
    for program in control_planes.PROGRAMS:
        place_program(cache, program, f"echo {program} cannot go on >&2; exit 3")
    return cache


def place_program(cache: Cache, name: str, script: str) -> None:
    place = cache.place("tools", gotools.tool_key(name)) / name
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(f"#!/bin/sh\n{script}\n")
    place.chmod(0o755)


def up(cache: Cache, tmp_path: Path, name: str = NAME) -> ControlPlaneFacts:
    return control_planes.up(name, cache=cache, steps=Steps(tmp_path / "logs", out=io.StringIO()))


def assert_nothing_left(cache: Cache) -> None:
    assert not (cache.clusters / NAME).exists()
    assert [it for it in processes.running() if any(str(cache.root) in word for word in it.arguments)] == []


def test_a_program_that_ends_at_start_is_named_with_its_last_words(cache, tmp_path):
    with pytest.raises(DevError) as refused:
        up(cache, tmp_path)
    assert "etcd ended with status 3 while the control plane was starting" in refused.value.what
    assert "etcd cannot go on" in refused.value.what
    assert "etcd cannot go on" in (tmp_path / "logs" / f"starting-control-plane-{NAME}.log").read_text()
    assert_nothing_left(cache)


def test_the_others_go_with_the_one_that_ends(cache, tmp_path):
    place_program(cache, "etcd", "exec sleep 1000")
    place_program(cache, "kube-apiserver", "echo no storage >&2; kill -SEGV $$")
    with pytest.raises(DevError, match=r"kube-apiserver was killed by SIGSEGV .*\n +no storage"):
        up(cache, tmp_path)
    assert_nothing_left(cache)


def test_a_program_that_cannot_be_run_is_named(cache, tmp_path):
    place_program(cache, "etcd", "")
    (cache.place("tools", gotools.tool_key("etcd")) / "etcd").chmod(0o644)
    with pytest.raises(DevError, match="etcd could not be started: Permission denied"):
        up(cache, tmp_path)
    assert_nothing_left(cache)


def test_one_that_never_gets_ready_is_given_up(cache, tmp_path, monkeypatch):
    monkeypatch.setattr(control_planes, "READY_SECONDS", 0.1)
    for program in control_planes.PROGRAMS:
        place_program(cache, program, f"echo {program} waits; exec sleep 1000")
    with pytest.raises(DevError, match=r"/readyz was not there after 0\.1 s"):
        up(cache, tmp_path)
    assert "kube-apiserver waits" in (tmp_path / "logs" / f"starting-control-plane-{NAME}.log").read_text()
    assert_nothing_left(cache)


def test_without_openssl_it_says_what_to_install(cache, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DevError, match="`openssl` is not there") as refused:
        up(cache, tmp_path)
    assert refused.value.do == "install openssl"
    assert_nothing_left(cache)


def test_an_openssl_that_fails_is_quoted(cache, tmp_path, monkeypatch):
    (tmp_path / "openssl").write_text("#!/bin/sh\necho unknown option -CA >&2; exit 1\n")
    (tmp_path / "openssl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(DevError, match="unknown option -CA") as refused:
        up(cache, tmp_path)
    assert "3.0 or later" in refused.value.do
    assert_nothing_left(cache)


def test_a_disk_with_too_little_room_is_not_begun_on(cache, tmp_path, monkeypatch):
    monkeypatch.setattr(control_planes, "STATE_GIGABYTES", 1e9)
    with pytest.raises(DevError, match=f"control plane {NAME} needs 1e\\+09 GB"):
        up(cache, tmp_path)
    assert_nothing_left(cache)


def test_without_a_port_it_says_where_to_look(cache, tmp_path, monkeypatch):
    monkeypatch.setattr(ports, "ADDRESS", "192.0.2.1")  # TEST-NET-1, RFC 5737: nobody's
    with pytest.raises(DevError, match=r"no port on 192\.0\.2\.1: Cannot assign requested address"):
        up(cache, tmp_path)
    assert_nothing_left(cache)


def test_damaged_facts_are_named(cache, tmp_path):
    facts = cache.clusters / NAME / "facts.json"
    facts.parent.mkdir(parents=True)
    facts.write_text("{")
    with pytest.raises(DevError, match=r"facts\.json is damaged"):
        up(cache, tmp_path)


def test_the_name_of_another_kind_of_cluster_is_left_alone(cache, tmp_path):
    facts = cache.clusters / NAME / "facts.json"
    facts.parent.mkdir(parents=True)
    facts.write_text(json.dumps({"kind": "kind"}))
    for command in (control_planes.up, control_planes.down):
        with pytest.raises(DevError, match=f"{NAME} is a cluster of kind kind"):
            command(NAME, cache=cache, steps=Steps(tmp_path / "logs", out=io.StringIO()))
    assert json.loads(facts.read_text()) == {"kind": "kind"}


@pytest.mark.parametrize("name", ["", "..", "a/b", "Upper", "-first", "last-", "x" * 41])
def test_what_is_no_name_for_a_folder_is_no_name(cache, tmp_path, name):
    with pytest.raises(DevError, match="is no name for a cluster"):
        up(cache, tmp_path, name)
