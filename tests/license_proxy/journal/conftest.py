import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A folder in memory: every transaction waits for a sync, and what that is worth is shown in test_crashes alone."""
    with tempfile.TemporaryDirectory(dir="/dev/shm", prefix="streamstack-test-") as path:
        yield Path(path)
