"""`hack/contract check-breaking` refuses every change that an older peer would notice, and no other."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOOL = ROOT / "hack/contract"
PRESENT = ROOT / "protos/streamstack/asr/v1/asr.proto"
RELEASED = ROOT / "protos/released"


def check(proto: Path, released: Path = RELEASED) -> tuple[int, list[str]]:
    done = subprocess.run(
        [sys.executable, str(TOOL), "check-breaking", str(proto), str(released)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert not done.stderr, done.stderr
    return done.returncode, done.stdout.splitlines()


def changed(folder: Path, *edits: tuple[str, str]) -> Path:
    """A release with each text replaced once."""
    text = (RELEASED / "asr_v1_0.proto").read_text()
    for old, new in edits:
        assert text.count(old) >= 1, old
        text = text.replace(old, new, 1)
    path = folder / "changed.proto"
    path.write_text(text)
    return path


def test_the_present_contract_breaks_no_release() -> None:
    assert check(PRESENT) == (0, [])


def test_without_arguments_the_repository_itself_is_checked() -> None:
    done = subprocess.run([sys.executable, str(TOOL), "check-breaking"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("edits", "problem"),
    [
        ([("  bytes pcm = 2;\n", "")], "Audio.pcm: removed (number 2)"),
        ([("  bytes pcm = 2;", "  bytes samples = 2;")], "Audio.pcm: renamed to samples (number 2)"),
        ([("  bytes pcm = 2;", "  bytes pcm = 3;")], "Audio.pcm: renumbered from 2 to 3"),
        ([("uint64 offset = 1;", "int64 offset = 1;")], "Audio.offset: retyped from uint64 to int64"),
        (
            [("repeated string keyterms = 1;", "string keyterms = 1;")],
            "SessionConfig.keyterms: retyped from repeated string to string",
        ),
        (
            [("  optional float turn_complete_probability", "  float turn_complete_probability")],
            "Hypothesis.turn_complete_probability: retyped from optional float to float",
        ),
        (
            [("    Open open = 2;", "    Audio open = 2;")],
            "SessionRequest.open: retyped from streamstack.asr.v1.Open to streamstack.asr.v1.Audio",
        ),
        (
            [("    Close close = 6;\n  }", "  }\n  Close close = 6;")],
            "SessionRequest.close: moved from oneof request to no oneof",
        ),
        (
            [("  string message = 2;", "  oneof text { string message = 2; }")],
            "Refused.message: moved from no oneof to oneof text",
        ),
        ([("    UNKNOWN_MODEL = 3;\n", "")], "Refused.Reason.UNKNOWN_MODEL: removed (number 3)"),
        ([("    BACKLOG = 4;", "    BACKLOG = 7;")], "Closed.Reason.BACKLOG: renumbered from 4 to 7"),
        (
            [("rpc Describe(DescribeRequest) returns (Description);", "")],
            "Recognizer.Describe: removed",
        ),
        (
            [("rpc Link(stream ToAsr)", "rpc Link(ToAsr)")],
            "Recognizer.Link: retyped",
        ),
        (
            [("message Heartbeat {", "message Beat {"), ("  Heartbeat heartbeat", "  Beat heartbeat")],
            "Heartbeat: removed",
        ),
        ([("package streamstack.asr.v1;", "package streamstack.asr.v2;")], "Word: removed"),
    ],
)
def test_a_change_that_takes_something_back_is_named(
    tmp_path: Path, edits: list[tuple[str, str]], problem: str
) -> None:
    code, lines = check(changed(tmp_path, *edits))
    assert code == 1
    assert f"asr_v1_0.proto: streamstack.asr.v1.{problem}" in lines


def test_additions_are_allowed(tmp_path: Path) -> None:
    proto = changed(
        tmp_path,
        ("  bytes pcm = 2;", "  bytes pcm = 2;\n  uint32 channel = 3;"),
        ("    Close close = 6;", "    Close close = 6;\n    Pause pause = 7;"),
        ("message Close {}", "message Close {}\nmessage Pause {}"),
        ("    BACKLOG = 4;", "    BACKLOG = 4;\n    TIRED = 9;"),
        ("service Recognizer {", "service Recognizer {\n  rpc Ping(DescribeRequest) returns (Description);"),
    )
    assert check(proto) == (0, [])


def test_a_folder_without_a_release_is_a_failure_not_a_pass(tmp_path: Path) -> None:
    code, lines = check(PRESENT, tmp_path)
    assert code == 1
    assert "no release to compare with" in lines[0]
