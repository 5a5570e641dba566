"""What a model folder says of its model, read from its JSON files without torch or transformers.

``config.json`` and ``processor_config.json`` are transformers' own. A field that a folder leaves out has the default of
transformers' configuration class (``NemotronAsrStreamingEncoderConfig``, ``NemotronAsrStreamingConfig``,
``Nemotron3_5AsrConfig``) and processor class (``DEFAULT_NUM_LOOKAHEAD_TOKENS``).
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from streamstack_asr.engines.base import EngineError
from streamstack_asr.engines.nemotron.prompts import PROMPTS

ENGLISH: Final = "nemotron_asr_streaming"
MULTILINGUAL: Final = "nemotron3_5_asr"
CLASSES: Final = {ENGLISH: "NemotronAsrStreamingForRNNT", MULTILINGUAL: "Nemotron3_5AsrForRNNT"}
"""``model_type`` of config.json -> transformers' class."""

SAMPLE_RATE: Final = 16_000
HOP_SAMPLES: Final = 160
"""A mel frame every 10 ms: the feature extractor's ``hop_length``."""
SUBSAMPLING: Final = 8
"""Mel frames an encoder frame."""
FRAME_SAMPLES: Final = HOP_SAMPLES * SUBSAMPLING
"""80 ms."""
FRAME_MS: Final = FRAME_SAMPLES * 1000 // SAMPLE_RATE

DEFAULT_LOOKAHEADS: Final = (13, 6, 1, 0)
AUTO: Final = "auto"
"""The prompt by which the multilingual model finds the language itself."""

_LARGEST_JSON: Final = 64 << 20  # a tokenizer of 13,000 pieces is 2 MB
_ENCODER_DEFAULTS: Final = {
    "num_mel_bins": 80,
    "hidden_size": 1024,
    "num_hidden_layers": 24,
    "num_attention_heads": 8,
    "sliding_window": 71,
    "default_num_lookahead_tokens": 13,
    "subsampling_factor": SUBSAMPLING,
}
_DEFAULTS: Final = {
    ENGLISH: {"vocab_size": 1025, "blank_token_id": 1024},
    MULTILINGUAL: {"vocab_size": 13_088, "blank_token_id": 13_087, "num_prompts": 128, "default_prompt_id": 101},
}
_FEATURES: Final = {"sampling_rate": SAMPLE_RATE, "hop_length": HOP_SAMPLES, "n_fft": 512, "win_length": 400}
"""What the incremental features are made for; also transformers' defaults."""
_LANGUAGE: Final = re.compile(r"[a-z]{2,3}(-[A-Z]{2})?")


class ModelError(EngineError):
    """A model cannot be used: the message names the file, what was wrong with it and what was expected."""


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What a model is; frames are encoder frames of 80 ms.

    ``left_context_frames`` is what attention sees before a step. ``lookaheads`` are those the model was trained with,
    its default first. ``languages`` (BCP-47, one for each prompt) and ``prompts`` (every name the model has for a
    language, and ``auto``) are empty for a model of English alone.
    """

    architecture: str
    mel_bins: int
    hidden_size: int
    layers: int
    heads: int
    left_context_frames: int
    vocab_size: int
    blank_token: int
    lookaheads: tuple[int, ...]
    default_lookahead: int
    languages: tuple[str, ...] = ()
    prompts: Mapping[str, int] = field(default_factory=dict)

    @property
    def multilingual(self) -> bool:
        """Whether a session's language is an input of the model."""
        return bool(self.prompts)

    @property
    def chunks_ms(self) -> tuple[int, ...]:
        """The steps the model can take, in ms, its default first: a lookahead of R frames is a step of 80 (R + 1)."""
        return tuple(FRAME_MS * (lookahead + 1) for lookahead in self.lookaheads)


def read_facts(folder: Path) -> ModelFacts:
    """Return the facts of the model in ``folder``. Raises ModelError."""
    config = Fields(folder / "config.json", read_object(folder / "config.json"))
    architecture = config.value("model_type")
    if not isinstance(architecture, str) or architecture not in CLASSES:
        raise config.wrong("model_type", architecture, f"one of {', '.join(CLASSES)}")
    declared = config.value("architectures", [CLASSES[architecture]])
    if declared != [CLASSES[architecture]]:
        raise config.wrong("architectures", declared, repr([CLASSES[architecture]]))
    encoder = config.section("encoder_config", _ENCODER_DEFAULTS)
    whole = config.with_defaults(_DEFAULTS[architecture])
    if encoder.count("subsampling_factor") != SUBSAMPLING:
        raise encoder.wrong("subsampling_factor", encoder.value("subsampling_factor"), SUBSAMPLING)
    vocabulary = whole.count("vocab_size")
    processor = _processor(folder)
    _check_features(folder, processor, mel_bins=encoder.count("num_mel_bins"))
    lookaheads = _lookaheads(encoder, processor)
    prompts = _prompts(whole, processor) if architecture == MULTILINGUAL else {}
    return ModelFacts(
        architecture=architecture,
        mel_bins=encoder.count("num_mel_bins"),
        hidden_size=encoder.count("hidden_size"),
        layers=encoder.count("num_hidden_layers"),
        heads=_heads(encoder),
        left_context_frames=encoder.count("sliding_window") - 1,
        vocab_size=vocabulary,
        blank_token=whole.count("blank_token_id", least=0, below=vocabulary),
        lookaheads=lookaheads,
        default_lookahead=lookaheads[0],
        languages=_languages(prompts),
        prompts=prompts,
    )


@dataclass(frozen=True, slots=True)
class Fields:
    """One JSON object of a file, with defaults; what it raises names the file and the field."""

    path: Path
    values: Mapping[str, Any]
    prefix: str = ""

    def value(self, name: str, default: Any = None) -> Any:
        """Return a field as it is."""
        found = self.values.get(name)
        return default if found is None else found

    def count(self, name: str, *, least: int = 1, below: int | None = None) -> int:
        """Return a whole number from ``least`` on and below ``below``. Raises ModelError."""
        found = self.value(name)
        if not isinstance(found, int) or isinstance(found, bool) or found < least:
            raise self.wrong(name, found, f"a whole number, at least {least}")
        if below is not None and found >= below:
            raise self.wrong(name, found, f"below {below}")
        return found

    def section(self, name: str, defaults: Mapping[str, Any] | None = None) -> "Fields":
        """Return the object under ``name``. Raises ModelError when it is none."""
        found = self.value(name, {})
        if not isinstance(found, dict):
            raise self.wrong(name, found, "an object")
        return Fields(self.path, found, f"{self.prefix}{name}.").with_defaults(defaults or {})

    def with_defaults(self, defaults: Mapping[str, Any]) -> "Fields":
        """Return the same object, with values for what it leaves out."""
        given = {name: value for name, value in self.values.items() if value is not None}
        return Fields(self.path, {**defaults, **given}, self.prefix)

    def wrong(self, name: str, found: object, expected: object) -> ModelError:
        """Say that a field is not what it must be."""
        shown = "nothing" if found is None else repr(found)[:100]
        return ModelError(f"{self.path}: {self.prefix}{name} is {shown}, expected {expected}")


def read_object(path: Path) -> dict[str, Any]:
    """Read a JSON object of a model folder. Raises ModelError."""
    try:
        if path.stat().st_size > _LARGEST_JSON:
            raise ModelError(f"{path}: larger than {_LARGEST_JSON >> 20} MiB, expected a JSON object")
        found = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise ModelError(f"{path}: missing, expected a model folder as transformers writes it") from error
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path}: no JSON ({error}), expected an object") from error
    if not isinstance(found, dict):
        raise ModelError(f"{path}: a {type(found).__name__}, expected a JSON object")
    return found


def _processor(folder: Path) -> Fields:
    path = folder / "processor_config.json"
    return Fields(path, read_object(path) if path.exists() else {})


def _check_features(folder: Path, processor: Fields, *, mel_bins: int) -> None:
    """Compare what the features are made by: in processor_config.json, or alone in preprocessor_config.json."""
    path = folder / "preprocessor_config.json"
    expected = {**_FEATURES, "feature_size": mel_bins}
    sections = [processor.section("feature_extractor", expected)]
    if path.exists():
        sections.append(Fields(path, read_object(path)).with_defaults(expected))
    for section in sections:
        for name, value in expected.items():
            if section.value(name) != value:
                agreed = " as num_mel_bins in config.json" if name == "feature_size" else ""
                raise section.wrong(name, section.value(name), f"{value}{agreed}")


def _heads(encoder: Fields) -> int:
    heads = encoder.count("num_attention_heads")
    if encoder.count("hidden_size") % heads:
        raise encoder.wrong("num_attention_heads", heads, f"a divisor of hidden_size {encoder.value('hidden_size')}")
    return heads


def _lookaheads(encoder: Fields, processor: Fields) -> tuple[int, ...]:
    """Return the set of the processor, which alone knows it, the default first; every one fits the left context."""
    window = encoder.count("sliding_window", least=2)
    supported = processor.value("supported_num_lookahead_tokens")
    name = "supported_num_lookahead_tokens"
    given = list(DEFAULT_LOOKAHEADS) if supported is None else supported
    if not isinstance(given, list) or not given:
        raise processor.wrong(name, given, "a list of frames")
    if any(not isinstance(frames, int) or isinstance(frames, bool) or not 0 <= frames < window for frames in given):
        raise processor.wrong(name, given, f"frames from 0 to {window - 1} (sliding_window - 1)")
    name = "default_num_lookahead_tokens"
    if processor.value(name) is not None:
        default = processor.count(name, least=0)
    else:
        default = encoder.count(name, least=0, below=window)
        if default not in given:  # the processor's first is its default, as transformers has it
            given, default = ([default, *given], default) if supported is None else (given, given[0])
    if default not in given:
        raise processor.wrong(name, default, f"one of {given}")
    return (default, *sorted({*given} - {default}, reverse=True))


def _prompts(config: Fields, processor: Fields) -> dict[str, int]:
    """Return the processor's dictionary of prompts, ``auto`` always among them."""
    limit = config.count("num_prompts")
    auto = config.count("default_prompt_id", least=0, below=limit)
    prompts = processor.section("prompt_dictionary", {} if processor.value("prompt_dictionary") else PROMPTS)
    return {AUTO: auto} | {str(name): prompts.count(name, least=0, below=limit) for name in prompts.values}


def _languages(prompts: Mapping[str, int]) -> tuple[str, ...]:
    """Return the first well-formed name of each prompt: the dictionary also has names like ``enGB``, and bare codes."""
    first: dict[int, str] = {}
    for name, prompt in prompts.items():
        if name != AUTO and _LANGUAGE.fullmatch(name):
            first.setdefault(prompt, name)
    return tuple(sorted(first.values()))
