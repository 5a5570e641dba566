"""hack/charts: what the charts hold of the definition is what crds/ says."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_what_the_charts_hold_of_the_definition_is_not_stale() -> None:
    done = subprocess.run(
        [sys.executable, "hack/charts", "check"], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert (done.stdout + done.stderr, done.returncode) == ("", 0)
