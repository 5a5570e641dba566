import time
from pathlib import Path

import pytest

from devcluster import pulling
from devcluster.docker import Docker
from devcluster.steps import Steps


@pytest.fixture
def steps(tmp_path: Path) -> Steps:
    return Steps(tmp_path / "logs")


def client(folder: Path, script: str) -> Docker:
    program = folder / "docker"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return Docker(binary=str(program), version="20.10.24")


def test_an_image_that_a_registry_gives_is_pulled_however_long_it_takes(
    tmp_path: Path, steps: Steps, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pulling, "ANSWER_SECONDS", 3)
    docker = client(tmp_path, f"echo '1: Pulling from a/b'; sleep 4; touch {tmp_path}/whole")
    assert pulling.pulled(docker, "a/b:1", steps=steps) is None
    assert (tmp_path / "whole").exists()


def test_a_registry_that_refuses_is_quoted(tmp_path: Path, steps: Steps) -> None:
    docker = client(tmp_path, "echo 'Error response from daemon: manifest unknown' >&2; exit 1")
    assert pulling.pulled(docker, "a/b:1", steps=steps) == "Error response from daemon: manifest unknown"


def test_a_registry_that_says_nothing_is_not_waited_for(
    tmp_path: Path, steps: Steps, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pulling, "ANSWER_SECONDS", 0.2)
    docker = client(tmp_path, f"echo $$ > {tmp_path}/pid; exec sleep 1000")
    assert pulling.pulled(docker, "a/b:1", steps=steps) == "no answer within 0.2 s"
    pid = (tmp_path / "pid").read_text().strip() if (tmp_path / "pid").exists() else ""
    deadline = time.monotonic() + 10
    while pid and Path(f"/proc/{pid}").exists():
        assert time.monotonic() < deadline, "the client is still there"
