"""What an engine of our own decides without one; e2e/engine starts real ones."""

from pathlib import Path

import pytest

from devcluster import engine
from devcluster.cache import Cache
from devcluster.compose_plugin import is_recent, plugin_config
from devcluster.engine import explain, explained
from devcluster.engine_place import SOCKET_BYTES, Before, Place
from devcluster.errors import DevError
from devcluster.privileges import Machine

LOST = "`docker ps` ended with status 1: Cannot connect to the Docker daemon at unix:///e/docker.sock. Is it running?"


def machine(*, root: bool = True, debian: bool = True) -> Machine:
    return Machine(root=root, debian=debian, distribution="Fedora Linux 42", bounding_set=0)


def before(**change: object) -> Before:
    """What was written down when an engine started, here and since this machine booted."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    namespace = str(Path("/proc/self/ns/net").readlink())
    facts = {"boot": boot, "network_namespace": namespace, "rules": "", "interfaces": ("lo",), "folders": ()}
    return Before(**{**facts, "sysctls": {"net/ipv4/ip_forward": "0"}, **change})  # type: ignore[arg-type]


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    made = Cache(tmp_path)
    made.engine.mkdir()
    return made


def test_without_root_an_engine_is_not_even_installed() -> None:
    with pytest.raises(DevError, match="starting one needs root") as refused:
        engine._require_possible(machine(root=False), dockerd=None)
    assert "sudo" in refused.value.do


def test_elsewhere_than_on_debian_only_what_is_installed_is_started() -> None:
    with pytest.raises(DevError, match="this machine is Fedora Linux 42") as refused:
        engine._require_possible(machine(debian=False), dockerd=None)
    assert "install and start Docker" in refused.value.do
    engine._require_possible(machine(debian=False), dockerd="/usr/bin/dockerd")
    engine._require_possible(machine(), dockerd=None)


def test_a_lost_connection_to_our_engine_is_its_death(cache: Cache) -> None:
    place = Place.of(cache)
    before().save(place)
    place.log.write_text("level=info msg=ready\nfatal error: out of memory\n")
    meaning = explain(DevError(LOST, do="try it by hand"), cache=cache)
    assert "the Docker engine died" in meaning.what
    assert "fatal error: out of memory" in meaning.what
    assert "hack/engine up" in meaning.do
    assert str(place.log) in meaning.do


def test_a_lost_connection_to_another_engine_is_told_without_a_log_of_ours(cache: Cache) -> None:
    meaning = explain(DevError(LOST, do="try it by hand"), cache=cache)
    assert meaning.what.startswith("the Docker engine answers no more")


def test_other_errors_mean_what_they_say(cache: Cache) -> None:
    before().save(Place.of(cache))
    error = DevError("`docker run` ended with status 125: no such image", do="pull it")
    assert explain(error, cache=cache) is error
    with pytest.raises(DevError) as same, explained(cache):
        raise error
    assert same.value is error


def test_a_block_that_loses_its_engine_raises_the_death_from_the_loss(cache: Cache) -> None:
    before().save(Place.of(cache))
    error = DevError(LOST, do="try it by hand")
    with pytest.raises(DevError, match="the Docker engine died") as died, explained(cache):
        raise error
    assert died.value.__cause__ is error


def test_what_a_machine_was_like_is_read_back(cache: Cache) -> None:
    place = Place.of(cache)
    assert Before.load(place) is None
    written = before(rules="*filter\nCOMMIT\n", interfaces=("eth0", "lo"), folders=("/run/docker",))
    written.save(place)
    assert Before.load(place) == written
    assert [path.name for path in place.folder.iterdir()] == ["before.json"]


def test_what_was_written_before_a_reboot_counts_no_more(cache: Cache) -> None:
    before(boot="another").save(Place.of(cache))
    assert Before.load(Place.of(cache)) is None


def test_what_was_written_in_another_network_is_not_undone_here(cache: Cache) -> None:
    before(network_namespace="net:[1]").save(Place.of(cache))
    with pytest.raises(DevError, match="another network namespace"):
        Before.load(Place.of(cache))


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '"x"', '{"boot": "b", "interfaces": 5, "folders": []}'])
def test_what_another_version_wrote_is_refused(cache: Cache, text: str) -> None:
    Place.of(cache).before.write_text(text)
    with pytest.raises(DevError, match="is not what this version writes") as refused:
        Before.load(Place.of(cache))
    assert "remove this file" in refused.value.do


def test_a_folder_whose_sockets_could_not_be_reached_is_refused() -> None:
    inside = len("/exec/containerd/containerd-debug.sock")
    longest = "/" + "x" * (SOCKET_BYTES - inside - 1)
    Place(Path(longest)).require_short()
    with pytest.raises(DevError, match="is 1 bytes too long"):
        Place(Path(f"{longest}x")).require_short()


def test_engines_of_two_folders_have_cgroups_of_their_own() -> None:
    assert Place(Path("/a")).cgroup != Place(Path("/b")).cgroup
    assert Place(Path("/a")).cgroup.startswith("streamstack-")


def test_a_place_is_the_same_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert Place.of(Cache(tmp_path / "link")) == Place.of(Cache(tmp_path / "real"))


def test_no_dockerd_runs_in_a_new_place(cache: Cache) -> None:
    assert Place.of(cache).dockerd() is None
    assert not engine.alive(cache)


@pytest.mark.parametrize(
    ("version", "recent"),
    [
        ("2.40.3\n", True),
        ("v2.24.0", True),
        ("2.24.6-desktop.1", True),
        ("v5.0.1", True),
        ("2.23.3", False),
        ("1.29.2", False),
        ("docker-compose version 2.40.3", False),
        ("", False),
    ],
)
def test_a_compose_is_taken_from_the_machine_when_it_is_recent(version: str, recent: bool) -> None:
    assert is_recent(version) is recent


def test_a_plugin_of_ours_hides_nothing_of_the_user(cache: Cache, tmp_path: Path) -> None:
    config = tmp_path / "user"
    (config / "cli-plugins").mkdir(parents=True)
    (config / "config.json").write_text('{"auths": {}}')
    (config / "cli-plugins/docker-buildx").write_text("theirs")
    (config / "cli-plugins/docker-compose").write_text("too old")
    program = tmp_path / "docker-compose"
    program.write_text("ours")

    folder = plugin_config(program, cache=cache, config=config)
    assert (folder / "cli-plugins/docker-compose").read_text() == "ours"
    assert (folder / "cli-plugins/docker-buildx").read_text() == "theirs"
    assert (folder / "config.json").resolve() == config / "config.json"
    assert (config / "cli-plugins/docker-compose").read_text() == "too old"
    assert plugin_config(program, cache=cache, config=folder) == folder, "a shell that has it keeps it"
    assert (folder / "cli-plugins/docker-buildx").read_text() == "theirs"


def test_a_user_without_a_configuration_gets_the_plugin_alone(cache: Cache, tmp_path: Path) -> None:
    folder = plugin_config(tmp_path / "docker-compose", cache=cache, config=tmp_path / "nothing")
    assert sorted(str(path.relative_to(folder)) for path in folder.rglob("*")) == [
        "cli-plugins",
        "cli-plugins/docker-compose",
    ]
