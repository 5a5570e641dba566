import sys
from pathlib import Path

import pytest

from devcluster import kube
from devcluster.cache import Cache
from devcluster.errors import DevError
from devcluster.kube import Kube, within_skew
from devcluster.steps import Steps


@pytest.mark.parametrize("client", ["v1.35.0", "v1.36.9", "v1.37.1", "v1.36.4-gke.1"])
def test_a_client_one_minor_away_fits(client: str) -> None:
    assert within_skew(client, "v1.36.3")


@pytest.mark.parametrize("client", ["v1.34.9", "v1.38.0", "v2.36.0", "unknown", ""])
def test_a_client_further_away_does_not(client: str) -> None:
    assert not within_skew(client, "v1.36.3")


@pytest.mark.parametrize(("version", "theirs"), [("0.30.0", True), ("0.33.0-alpha+x", True), ("0.29.0", False)])
def test_the_users_kind_is_taken_when_it_is_recent_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, theirs: bool
) -> None:
    program = tmp_path / "kind"
    program.write_text(f"#!/bin/sh\necho {version}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    ours = tmp_path / "ours"
    monkeypatch.setattr(kube.gotools, "build", lambda name, *, cache, steps: ours)
    cache = Cache(tmp_path / "cache")
    found = kube.kind_program(cache=cache, steps=Steps(cache.logs))
    assert found == (program if theirs else ours)


def test_a_command_is_repeated_until_it_succeeds(tmp_path: Path) -> None:
    program = tmp_path / "kubectl"
    program.write_text(f"""#!{sys.executable}
import pathlib, sys
seen = pathlib.Path({str(tmp_path / "seen")!r})
seen.write_text(seen.read_text() + "x" if seen.exists() else "x")
sys.exit("not yet" if len(seen.read_text()) < 3 else 0)
""")
    program.chmod(0o755)
    Kube(program, tmp_path / "kubeconfig").until(("get", "nodes"), seconds=30)
    assert (tmp_path / "seen").read_text() == "xxx"


def test_a_command_that_never_succeeds_ends_with_its_last_words(tmp_path: Path) -> None:
    program = tmp_path / "kubectl"
    program.write_text("#!/bin/sh\necho the server is on fire >&2; exit 1\n")
    program.chmod(0o755)
    with pytest.raises(DevError, match="the server is on fire"):
        Kube(program, tmp_path / "kubeconfig").until(("get", "nodes"), seconds=0)
