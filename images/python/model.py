"""Run in a build stage: the model that the build argument MODEL_DIR names, to be baked into an image, or none.

Expects the build's context as `/context`; makes `/baked`, with the model as `default` in it.
"""

import os
import shutil
import sys
from pathlib import Path

NEEDED = ("config.json", "tokenizer.json")


def main(context: Path, baked: Path, name: str) -> None:
    """Copy the model, links followed, readable by everyone; exits with what is wrong about the folder."""
    baked.mkdir(parents=True)
    if not name:
        return
    folder = (context / name).resolve()
    if not folder.is_dir() or not folder.is_relative_to(context.resolve()):
        sys.exit(f"MODEL_DIR is {name!r}, expected a folder of the build's context, such as models/NAME")
    missing = [needed for needed in NEEDED if not (folder / needed).is_file()]
    if missing:
        sys.exit(f"MODEL_DIR is {name!r}, which has no {', '.join(missing)}: expected a model folder")
    shutil.copytree(folder, baked / "default", ignore=shutil.ignore_patterns(".*"))
    for path in (baked / "default").rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)


if __name__ == "__main__":
    main(Path("/context"), Path("/baked"), os.environ.get("MODEL_DIR", ""))
