"""Which engine and which client are taken. The clients here are scripts that answer as docker's own versions do."""

from collections.abc import Callable
from pathlib import Path

import pytest

from devcluster import docker, versions
from devcluster.docker import Docker, answering, clients, rows
from devcluster.errors import DevError

Client = Callable[..., Path]


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Client:
    """Make a docker client that says ``version`` of an engine, or fails with ``errors``; all of them are found."""
    found: list[str] = []
    monkeypatch.setattr(docker, "clients", lambda: found)

    def make(*, own: str, engine: str = "", errors: str = "", buildx: bool = False) -> Path:
        folder = tmp_path / f"client{len(found)}"
        folder.mkdir()
        program = folder / "docker"
        program.write_text(
            "#!/bin/sh\n"
            'case "$1" in\n'
            f"--version) echo 'Docker version {own}, build 1234567' ;;\n"
            f"buildx) exit {0 if buildx else 1} ;;\n"
            f"version) cat <<'END' >&2\n{errors}\nEND\n"
            f"  echo '{engine}'; exit {0 if engine else 1} ;;\n"
            "esac\n"
        )
        program.chmod(0o755)
        found.append(str(program))
        return program

    return make


def test_an_engine_that_answers_is_used_with_the_environment_that_reached_it(client: Client) -> None:
    program = client(own="20.10.24+dfsg1", engine="20.10.24+dfsg1")
    found = answering({"DOCKER_HOST": "unix:///run/other.sock"})
    assert found is not None
    assert (found.binary, found.version) == (str(program), "20.10.24+dfsg1")
    assert found.env == {"DOCKER_HOST": "unix:///run/other.sock"}


def test_where_nothing_answers_there_is_none(client: Client) -> None:
    client(own="28.2.2", errors="Cannot connect to the Docker daemon at unix:///var/run/docker.sock.")
    assert answering({}) is None


def test_without_a_client_there_is_none(client: Client) -> None:
    assert answering({}) is None


@pytest.mark.parametrize(
    "errors",
    [
        "Got permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock: ...",
        "permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock: ...",
        "permission denied while trying to connect to the docker API at unix:///var/run/docker.sock",
    ],
)
def test_a_socket_without_permission_is_not_passed_over(client: Client, errors: str) -> None:
    client(own="28.2.2", errors=errors)
    with pytest.raises(DevError, match="this user may not use it") as refused:
        answering({})
    assert "docker group" in refused.value.do


def test_a_configuration_that_may_not_be_read_is_not_a_socket_without_permission(client: Client) -> None:
    client(
        own="28.2.2",
        errors="WARNING: Error loading config file: open /home/other/.docker/config.json: permission denied\n"
        "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?",
    )
    assert answering({}) is None


@pytest.mark.parametrize("version", ["19.03.15", "20.9.0", "1.13.1"])
def test_an_engine_that_is_too_old_is_refused(client: Client, version: str) -> None:
    client(own="28.2.2", engine=version, buildx=True)
    with pytest.raises(DevError, match=rf"the Docker engine is {version}, expected 20\.10 or later"):
        answering({})


@pytest.mark.parametrize("version", [".".join(map(str, versions.MINIMUM_DOCKER)), "23.0.0", "28.2.2", "29.0.0-rc.1"])
def test_a_recent_engine_is_welcome(client: Client, version: str) -> None:
    client(own="20.10.24", engine=version)
    found = answering({})
    assert found is not None
    assert found.version == version


@pytest.mark.parametrize(
    ("others", "chosen"),
    [
        ([{"own": "28.2.2", "buildx": True}, {"own": "20.10.24"}], 0),
        ([{"own": "28.2.2"}, {"own": "20.10.24"}], 1),
        ([{"own": "22.06.0"}], 0),
        ([{"own": "23.0.0"}, {"own": "24.0.1", "buildx": True}], 1),
    ],
)
def test_the_client_that_can_build_with_buildkit_is_taken(
    client: Client, others: list[dict[str, str]], chosen: int
) -> None:
    made = [client(engine="20.10.24", **other) for other in others]
    found = answering({})
    assert found is not None
    assert found.binary == str(made[chosen])


def test_no_client_that_builds_is_an_error_at_once(client: Client) -> None:
    client(own="28.2.2", engine="28.2.2")
    with pytest.raises(DevError, match="no docker client here can build with BuildKit"):
        answering({})


def test_clients_are_those_that_can_be_run_each_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "docker").write_text("#!/bin/sh\n")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert str(tmp_path / "docker") not in clients()
    (tmp_path / "docker").chmod(0o755)
    assert clients()[0] == str(tmp_path / "docker")
    monkeypatch.setenv("PATH", "/usr/bin")
    assert len(clients()) == len(set(clients()))


def test_an_image_that_is_not_there_has_no_id(tmp_path: Path) -> None:
    program = tmp_path / "docker"
    program.write_text('#!/bin/sh\n[ "$5" = there:1 ] && echo sha256:abc\n')
    program.chmod(0o755)
    engine = Docker(binary=str(program), version="20.10")
    assert engine.image_id("there:1") == "sha256:abc"
    assert engine.image_id("gone:1") is None


def test_rows_are_the_lines_that_say_something() -> None:
    assert rows("a\n\nb c\n") == ["a", "b c"]
