import json
import subprocess
import sys
from pathlib import Path

import pytest

from devcluster import limited_runc
from devcluster.limited_runc import CAPABILITIES, limited, missing, specification
from devcluster.privileges import Machine, bounding_set, is_debian, os_release, this_machine

EVERYTHING = "CapBnd:\t000001ffffffffff"
NO_SYS_RESOURCE = "CapBnd:\t000001fffeffffff"


def machine(status: str) -> Machine:
    return Machine(root=True, debian=True, distribution="Debian", bounding_set=bounding_set(status))


@pytest.mark.parametrize(
    ("release", "debian"),
    [
        ('PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nID=debian\n', True),
        ("# comment\nID=ubuntu\nID_LIKE=debian\n", True),
        ('ID=linuxmint\nID_LIKE="ubuntu debian"\n', True),
        ("ID=fedora\n", False),
        ('ID="rocky"\nID_LIKE="rhel centos fedora"\n', False),
        ("ID=notdebian\n", False),
        ("", False),
    ],
)
def test_debian_is_told_from_other_distributions(release: str, debian: bool) -> None:
    assert is_debian(os_release(release)) is debian


def test_a_machine_without_cap_sys_resource_is_limited() -> None:
    assert machine(NO_SYS_RESOURCE).limited
    assert not machine(EVERYTHING).limited
    assert not machine("Name:\tinit").limited


def test_this_machine_is_one_of_those() -> None:
    here = this_machine()
    assert here.distribution
    assert here.bounding_set > 0


def test_capabilities_have_the_numbers_that_the_kernel_gives_them() -> None:
    # linux/capability.h
    assert [CAPABILITIES.index(f"CAP_{name}") for name in ("CHOWN", "SYS_ADMIN", "SYS_RESOURCE", "BPF")] == [
        0,
        21,
        24,
        39,
    ]
    assert len(CAPABILITIES) == 41


def test_what_a_bounding_set_lacks_has_names() -> None:
    assert missing(EVERYTHING) == frozenset()
    assert missing(NO_SYS_RESOURCE) == {"CAP_SYS_RESOURCE"}
    assert missing("CapBnd:\t0000003fffffffff") == {"CAP_PERFMON", "CAP_BPF", "CAP_CHECKPOINT_RESTORE"}


def test_only_what_is_missing_is_taken_from_every_set() -> None:
    wanted = ["CAP_CHOWN", "CAP_SYS_RESOURCE"]
    config = {"process": {"args": ["sh"], "capabilities": {"bounding": wanted, "effective": wanted}}, "root": {}}
    assert limited(config, frozenset({"CAP_SYS_RESOURCE"})) == {
        "process": {"args": ["sh"], "capabilities": {"bounding": ["CAP_CHOWN"], "effective": ["CAP_CHOWN"]}},
        "root": {},
    }


@pytest.mark.parametrize("process", [{"args": ["sh"]}, {"args": ["sh"], "capabilities": None}])
def test_a_process_that_asks_for_nothing_stays_as_it_is(process: dict[str, object]) -> None:
    assert limited(process, frozenset({"CAP_CHOWN"})) == process


@pytest.mark.parametrize(
    ("arguments", "file"),
    [
        ("--root /r --log /l create --bundle /b --pid-file /p 1234", "/b/config.json"),
        ("--root /r create -b /b 1234", "/b/config.json"),
        ("run --bundle=/b 1234", "/b/config.json"),
        ("run 1234", "config.json"),
        ("--root /r exec --process /b/process --detach 1234", "/b/process"),
        ("exec -p /b/process 1234", "/b/process"),
        ("exec 1234 sh", None),
        ("--root /r state 1234", None),
        ("delete --force 1234", None),
        ("--version", None),
    ],
)
def test_every_call_of_runc_is_read_for_its_specification(arguments: str, file: str | None) -> None:
    assert specification(arguments.split()) == (Path(file) if file else None)


def test_the_runtime_strips_the_bundle_and_becomes_runc(tmp_path: Path) -> None:
    lacking = missing(Path("/proc/self/status").read_text())
    wanted = ["CAP_CHOWN", *lacking]
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"process": {"capabilities": {"effective": wanted}}}))
    runc = tmp_path / "runc"
    runc.write_text('#!/bin/sh\necho "$@"\nexit 7\n')
    runc.chmod(0o755)
    arguments = ["--root", "/r", "create", "--bundle", str(tmp_path), "1234"]
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(limited_runc.__file__), str(runc), *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (7, " ".join(arguments) + "\n"), done.stderr
    assert json.loads(config.read_text()) == {"process": {"capabilities": {"effective": ["CAP_CHOWN"]}}}
