"""What the command line says of itself, and what its documentation says of it."""

import re
from pathlib import Path

import pytest

from streamstack_cli import exit_codes
from streamstack_cli.__main__ import main

DOCUMENT = (Path(__file__).parents[2] / "docs/command-line.md").read_text()
COMMANDS = [
    ("up",),
    ("calibrate",),
    *(("license", name) for name in ("issue", "inspect", "revoke")),
    *(("usage", name) for name in ("export", "import", "receipt", "report")),
]


def help_of(capsys: pytest.CaptureFixture[str], *command: str) -> str:
    with pytest.raises(SystemExit, match="0"):
        main([*command, "--help"])
    return capsys.readouterr().out


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_is_documented_and_tells_its_exit_status(
    capsys: pytest.CaptureFixture[str], command: tuple[str, ...]
) -> None:
    assert f"streamstack {' '.join(command)} " in DOCUMENT
    assert exit_codes.EXPLAINED.strip() in help_of(capsys, *command)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_option_in_the_documents_examples_is_one_of_the_command(
    capsys: pytest.CaptureFixture[str], command: tuple[str, ...]
) -> None:
    known = set(re.findall(r"--[a-z-]+", help_of(capsys, *command)))
    examples = re.findall(rf"^streamstack {' '.join(command)} (.*(?:\\\n.*)*)", DOCUMENT, re.MULTILINE)
    assert examples
    for example in examples:
        assert set(re.findall(r"--[a-z-]+", example)) <= known


def test_every_exit_status_is_documented_once() -> None:
    documented = re.findall(r"^\| (\d+) \|", DOCUMENT, re.MULTILINE)
    explained = re.findall(r"^  (\d+) ", exit_codes.EXPLAINED, re.MULTILINE)
    assert documented == explained
    assert len(set(documented)) == len(documented)


def test_a_command_without_its_own_is_told_which_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["usage"])
    assert "COMMAND" in capsys.readouterr().err
