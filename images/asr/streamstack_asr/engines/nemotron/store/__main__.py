"""``python -m streamstack_asr.engines.nemotron.store fetch | check | manifest``: models, before a server needs them.

Settings come from the environment as the server's do: MODEL_DIR, MODEL_ARCHIVE, MODEL_ARCHIVE_SHA256, MODEL_STORE,
MODEL_OFFLINE, MODEL_LICENSE_ACCEPTED.
"""

import argparse
import dataclasses
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from streamstack_asr.engines.nemotron.facts import ModelError
from streamstack_asr.engines.nemotron.store import files, manifest
from streamstack_asr.engines.nemotron.store.folder import check_folder
from streamstack_asr.engines.nemotron.store.locating import ModelFolder, StoreSettings, locate


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 1 when a model cannot be used, with the reason."""
    parsed = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        match parsed.command:
            case "fetch":
                found = locate(StoreSettings.from_environment())
                sys.stdout.write(f"{found.path}\n")
            case "check":
                settings = StoreSettings.from_environment()
                if parsed.folder:
                    settings = dataclasses.replace(settings, model_dir=parsed.folder, archive="")
                sys.stdout.write(_described(locate(settings, full=parsed.full)))
            case _:
                sys.stdout.write(f"{_write_manifest(Path(parsed.folder), parsed.model, parsed.license)}\n")
    except ModelError as error:
        sys.stderr.write(f"model store: {error}\n")
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    whole = argparse.ArgumentParser(
        prog="python -m streamstack_asr.engines.nemotron.store",
        description="Models of the engine nemotron. The environment says which: MODEL_DIR or MODEL_ARCHIVE with "
        "MODEL_ARCHIVE_SHA256; MODEL_STORE, MODEL_OFFLINE, MODEL_LICENSE_ACCEPTED, as for the server.",
    )
    commands = whole.add_subparsers(dest="command", required=True)
    commands.add_parser("fetch", help="bring the model into the store, check it, and print its folder")
    check = commands.add_parser("check", help="say what the model is, and whether the server would take it")
    check.add_argument("folder", nargs="?", metavar="MODEL", help="a folder or a name in place of the environment's")
    check.add_argument("--full", action="store_true", help="read every byte again, whatever was verified before")
    make = commands.add_parser("manifest", help="write manifest.json: size and SHA-256 of each file of a folder")
    make.add_argument("folder", metavar="FOLDER")
    make.add_argument("--model", default="", help="the model's name, such as owner/model")
    make.add_argument("--license", default="", help="identifier of its license, such as OpenMDW-1.1")
    return whole


def _write_manifest(folder: Path, model: str, license_: str) -> Path:
    """Write the manifest of a folder that holds a model; what an earlier one said of it stays unless it is given."""
    check_folder(folder)
    path = folder / manifest.NAME
    earlier = manifest.read(folder)
    made = manifest.make(
        folder,
        model=model or (earlier.model if earlier else ""),
        license_=license_ or (earlier.license if earlier else ""),
    )
    try:
        files.write(path, made.as_json())
    except OSError as error:
        raise files.failure(error, "write the manifest", path) from error
    return path


def _described(found: ModelFolder) -> str:
    facts = found.facts
    lines = {
        "model": found.name,
        "folder": found.path,
        "license": found.license.identifier if found.license else "none stated",
        "digest": found.digest or "no manifest.json: only the structure was checked",
        "architecture": facts.architecture,
        "parameters": f"{found.parameters / 1e6:.1f} million, {'+'.join(found.dtypes)}, {found.weights_bytes} bytes",
        "steps": f"{', '.join(map(str, sorted(facts.chunks_ms)))} ms, by default {facts.chunks_ms[0]}",
        "languages": ", ".join(facts.languages) or "en",
    }
    return "".join(f"{name:<13}{value}\n" for name, value in lines.items())


if __name__ == "__main__":
    sys.exit(main())
