import io
import re
from pathlib import Path

import pytest

from devcluster.errors import DevError, Interrupted
from devcluster.steps import Steps


def lines(out: io.StringIO) -> list[str]:
    """What was printed, with every number of seconds replaced: tests know no times."""
    return [re.sub(r"\d+\.\d s", "N s", re.sub(r"^\[ *", "[", line)) for line in out.getvalue().splitlines()]


def test_a_step_says_when_it_begins_and_how_long_it_took(tmp_path: Path) -> None:
    out = io.StringIO()
    with Steps(tmp_path, out=out).step("creating three nodes") as log:
        log.write_text("done")
    assert lines(out) == ["[N s] creating three nodes ...", "[N s] creating three nodes: done in N s"]
    assert log == tmp_path / "creating-three-nodes.log"


def test_a_step_that_fails_names_its_log(tmp_path: Path) -> None:
    out = io.StringIO()

    def fail() -> None:
        with Steps(tmp_path, out=out).step("building kind") as log:
            log.write_text("no network")
            raise DevError("no", do="nothing")

    with pytest.raises(DevError):
        fail()
    assert lines(out)[-1] == f"[N s] building kind: failed after N s, log in {tmp_path}/building-kind.log"


def test_a_step_that_fails_without_a_log_names_none(tmp_path: Path) -> None:
    out = io.StringIO()
    with pytest.raises(DevError), Steps(tmp_path, out=out).step("looking"):
        raise DevError("no", do="nothing")
    assert lines(out)[-1] == "[N s] looking: failed after N s"


def test_an_interrupted_step_says_so(tmp_path: Path) -> None:
    out = io.StringIO()
    with pytest.raises(Interrupted), Steps(tmp_path, out=out).step("waiting"):
        raise Interrupted("SIGINT")
    assert lines(out)[-1] == "[N s] waiting: interrupted after N s"


def test_a_log_is_begun_anew_and_its_name_is_a_file_name(tmp_path: Path) -> None:
    steps = Steps(tmp_path / "logs", out=io.StringIO())
    first = steps.log_file("building ../etcd, v3.6 (static)")
    assert first == tmp_path / "logs/building-etcd-v3-6-static.log"
    first.write_text("of the run before")
    assert not steps.log_file("building ../etcd, v3.6 (static)").exists()
