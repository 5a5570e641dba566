import os
from pathlib import Path

import pytest

from devcluster import cluster_state, machine_settings
from devcluster.cache import Cache
from devcluster.machine_settings import ENOUGH_INSTANCES, give_back, prepare
from devcluster.steps import Steps

INSTANCES = "fs/inotify/max_user_instances"
OVERCOMMIT = "vm/overcommit_memory"


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Kernel settings of a machine that never saw a cluster."""
    for name, value in ((INSTANCES, "128"), (OVERCOMMIT, "0")):
        (tmp_path / "sys" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "sys" / name).write_text(f"{value}\n")
    monkeypatch.setattr(machine_settings, "PROC_SYS", tmp_path / "sys")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    return tmp_path / "sys"


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


@pytest.fixture
def steps(cache: Cache) -> Steps:
    return Steps(cache.logs)


def there(cache: Cache, name: str) -> Path:
    facts = cluster_state.folder(cache, name) / "facts.json"
    facts.parent.mkdir(parents=True)
    facts.write_text('{"kind": "kind"}')
    return facts


def test_many_nodes_may_watch_files_at_the_same_time(machine: Path, cache: Cache, steps: Steps) -> None:
    prepare(cache, steps=steps)
    assert (machine / INSTANCES).read_text() == str(ENOUGH_INSTANCES)


def test_a_machine_that_allows_more_is_left_alone(machine: Path, cache: Cache, steps: Steps) -> None:
    (machine / INSTANCES).write_text("8192\n")
    prepare(cache, steps=steps)
    assert (machine / INSTANCES).read_text() == "8192\n"


def test_the_last_cluster_gives_back_what_the_first_one_found(machine: Path, cache: Cache, steps: Steps) -> None:
    prepare(cache, steps=steps)
    one = there(cache, "one")
    (machine / OVERCOMMIT).write_text("1")  # kubelet
    prepare(cache, steps=steps)
    two = there(cache, "two")

    one.unlink()
    give_back(cache)
    assert (machine / OVERCOMMIT).read_text() == "1"

    two.unlink()
    give_back(cache)
    assert (machine / OVERCOMMIT).read_text() == "0"
    assert (machine / INSTANCES).read_text() == "128"


def test_nothing_is_touched_where_no_cluster_ever_was(machine: Path, cache: Cache) -> None:
    give_back(cache)
    assert (machine / INSTANCES).read_text() == "128\n"


def test_without_root_a_line_says_what_to_type(
    machine: Path, cache: Cache, steps: Steps, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    prepare(cache, steps=Steps(cache.logs))
    assert "sudo sysctl fs.inotify.max_user_instances=1024" in capsys.readouterr().err
    assert (machine / INSTANCES).read_text() == "128\n"
