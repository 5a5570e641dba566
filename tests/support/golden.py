"""What was rendered once and looked at, kept in a file: a change of it is seen in review."""

from pathlib import Path

import pytest


def assert_golden(rendered: str, file: Path) -> None:
    """Compare with the file. Delete the file to have it written anew: that test fails, and git shows what changed."""
    if not file.exists():
        file.write_text(rendered)
        pytest.fail(f"{file.name} was not there and is written now: look at it, then run this again")
    assert rendered == file.read_text(), f"{file.name} says otherwise; if the change is meant, delete it and run this"
