import os
import subprocess
from pathlib import Path

import pytest

from devcluster.cluster_cli import _missing_on_path

HACK = Path(__file__).resolve().parents[2] / "hack"


def hack(command: str, *arguments: str, cache: Path) -> "subprocess.CompletedProcess[str]":
    # No engine may be started by a mistake here: one is named that is not there.
    environment = {**os.environ, "STREAMSTACK_CACHE": str(cache), "DOCKER_HOST": f"unix://{cache}/none.sock"}
    return subprocess.run(
        [HACK / command, *arguments], env=environment, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--name", "Bad_Name"], "cluster name 'Bad_Name' is not valid"),
        (["--nodes", "0"], "expected 1 to 10"),
        (["--k8s-version", "latest"], "expected a release"),
        (["--ingress-port", "70000"], "is not a port"),
        (["--fake-gpus", "-1"], "expected 0 to 64"),
        (["--control-plane", "--nodes", "2"], "--nodes does not go with --control-plane"),
    ],
)
def test_what_no_cluster_can_be_is_refused_before_anything_is_begun(
    tmp_path: Path, arguments: list[str], message: str
) -> None:
    done = hack("cluster", "up", *arguments, cache=tmp_path)
    assert done.returncode == 1
    assert message in done.stderr
    assert "what to do: " in done.stderr
    assert not (tmp_path / "clusters").exists()


def test_an_engine_that_somebody_chose_has_to_answer(tmp_path: Path) -> None:
    done = hack("cluster", "up", cache=tmp_path)
    assert (done.returncode, "no Docker engine answers there" in done.stderr) == (1, True)


@pytest.mark.parametrize("command", ["kubeconfig", "env"])
def test_a_cluster_that_is_not_up_has_no_kubeconfig(tmp_path: Path, command: str) -> None:
    done = hack("cluster", command, cache=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert "hack/cluster up --name streamstack" in done.stderr


def test_programs_built_here_come_on_the_path_where_the_machine_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built, planned = tmp_path / "built/helm", tmp_path / "planned/kubectl"
    built.parent.mkdir()
    built.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert _missing_on_path([planned, built]) == [str(built.parent)]
    monkeypatch.setenv("PATH", str(built.parent))
    assert _missing_on_path([planned, built]) == []


def test_a_kubectl_that_was_chosen_comes_before_another_on_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen, other = tmp_path / "chosen/kubectl", tmp_path / "other/kubectl"
    for program in (chosen, other):
        program.parent.mkdir()
        program.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(other.parent))
    assert _missing_on_path([chosen]) == [str(chosen.parent)]
    assert _missing_on_path([other]) == []


def test_no_cluster_is_a_status_of_its_own(tmp_path: Path) -> None:
    done = hack("cluster", "status", cache=tmp_path)
    assert (done.returncode, done.stdout) == (1, "there is no cluster\n")


def test_a_32_bit_personality_is_told_from_a_machine_that_can_run_clusters(tmp_path: Path) -> None:
    environment = {**os.environ, "STREAMSTACK_CACHE": str(tmp_path)}
    done = subprocess.run(
        ["setarch", "linux32", HACK / "node-image", "build"],
        env=environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, "expected x86_64 or aarch64" in done.stderr) == (1, True)


def test_the_node_image_is_named_by_its_content(tmp_path: Path) -> None:
    done = hack("node-image", "name", cache=tmp_path)
    assert done.returncode == 0
    assert done.stdout.startswith("streamstack/node:")
