"""Arguments that choose a speech recognition, and what can be said of that choice before a server is started."""

import argparse
import importlib.util
import re
from pathlib import Path
from typing import Final

from streamstack_cli.arguments import positive
from streamstack_cli.stack import ASR, ENGINES_WITH_A_MODEL, OptionsError, StackOptions

DEVICES: Final = ("auto", "cpu", "cuda")
PRECISIONS: Final = ("auto", "bf16", "fp16", "fp32")

READY_SECONDS: Final = 120.0
READY_SECONDS_WITH_A_MODEL: Final = 900.0
"""Reading gigabytes of weights from a cold disk, and warming every shape of batch up, takes minutes."""

_MODEL_SETTINGS: Final = frozenset({"MODEL_DIR", "MODEL_ARCHIVE"})
_LIBRARY: Final = "torch"
_NAME: Final = re.compile(r"[\w][\w.-]*/[\w][\w.-]*(@[\w][\w.-]*)?", re.ASCII)


def add(parser: argparse.ArgumentParser) -> None:
    """Add the choice of an engine."""
    add = parser.add_argument
    add("--engine", default="sphinx", help="sphinx (default), nemotron, scripted or null")
    add("--model", type=_model, metavar="DIR", help="folder with the model's weights, or its name in MODEL_STORE")
    add("--device", choices=DEVICES, help="where the model runs; a GPU if there is one unless given")
    add("--precision", choices=PRECISIONS, help="of the model's numbers; the device's best unless given")
    add("--chunk-ms", type=positive, metavar="N", help="audio the model takes at a time; the model's own unless given")


def ready_seconds(arguments: argparse.Namespace) -> float:
    """How long services may take to become ready."""
    given: float | None = arguments.ready_timeout_seconds
    if given is not None:
        return given
    return READY_SECONDS_WITH_A_MODEL if arguments.engine in ENGINES_WITH_A_MODEL else READY_SECONDS


def check(options: StackOptions) -> None:
    """Look whether the engine can find its model and its libraries. Raises OptionsError."""
    if options.engine not in ENGINES_WITH_A_MODEL:
        return
    if options.model is not None:
        _check_model(options.model)
    elif not any(setting.service == ASR and setting.name in _MODEL_SETTINGS for setting in options.settings):
        raise OptionsError(f"--model: engine {options.engine} needs a folder with a model's weights")
    if importlib.util.find_spec(_LIBRARY) is None:
        raise OptionsError(
            f"--engine: {options.engine} is not installed here (no module {_LIBRARY}): "
            f"`make nemotron` installs it, or the distribution's extra {options.engine!r}"
        )


def _model(text: str) -> Path:
    """Take a folder wherever a server is started; a name stays one."""
    path = Path(text)
    return path.absolute() if path.exists() else path


def _check_model(model: Path) -> None:
    """Raise OptionsError where neither a model's folder nor a name can be meant; the server looks closer."""
    if not model.exists() and _NAME.fullmatch(str(model)):
        return
    if not model.is_dir():
        raise OptionsError(f"--model: {model} is no folder: expected one with a model's weights, or OWNER/MODEL")
    missing = [name for name in ("config.json", "*.safetensors") if next(model.glob(name), None) is None]
    if missing:
        raise OptionsError(
            f"--model: {model} holds no {' and no '.join(missing)}: expected a model's folder, "
            "with its configuration and its weights"
        )
