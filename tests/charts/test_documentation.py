"""docs/kubernetes.md speaks of values and files that there are."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.helm import OPERATOR, STACK

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/kubernetes.md").read_text()
VALUE = re.compile(r"`([a-zA-Z]+(?:\.[a-zA-Z]+)*)`")


def section(title: str) -> str:
    return PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def values_named_in(title: str) -> list[str]:
    """Values in the first column of a section's tables."""
    rows = [line.split("|")[1] for line in section(title).splitlines() if line.startswith("| `")]
    return [name for cell in rows for name in VALUE.findall(cell)]


def is_in(schema: dict[str, Any], path: str) -> bool:
    for name in path.split("."):
        if name not in schema.get("properties", {}):
            return False
        schema = schema["properties"][name]
    return True


@pytest.mark.parametrize(("title", "chart"), [("Values of a stack", STACK), ("Values of the operator", OPERATOR)])
def test_every_value_it_names_exists(title: str, chart: Path) -> None:
    schema = yaml.safe_load((chart / "values.schema.json").read_text())
    named = values_named_in(title)
    assert len(named) >= 8
    assert [name for name in named if not is_in(schema, name)] == []


def test_every_file_it_links_or_uses_exists() -> None:
    linked = [(ROOT / "docs" / target) for target in re.findall(r"\]\(([^)#]+)[^)]*\)", PAGE)]
    used = [ROOT / name for name in re.findall(r"(?:charts|examples|clients|crds|hack)/[\w./-]+", PAGE)]
    assert len(linked) > 5
    assert len(used) > 10
    assert [path for path in (*linked, *used) if not path.exists()] == []
