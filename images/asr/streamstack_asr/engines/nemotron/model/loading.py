"""From a model folder to transformers' modules on a device. The folder's structure was checked by the store."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
import transformers

from streamstack_asr.engines.nemotron.facts import CLASSES, ModelError, ModelFacts
from streamstack_asr.engines.nemotron.model.precision import choose
from streamstack_asr.engines.nemotron.store.folder import check_folder

_NAMED: Final = 3  # tensors in an error


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model ready for inference: transformers' own class, and the feature extractor it was trained with."""

    model: Any
    extractor: Any
    facts: ModelFacts
    device: torch.device


def load(folder: Path, *, device: str, precision: str) -> Loaded:
    """Load ``folder`` onto ``device`` (cpu, cuda, cuda:N) in ``precision`` (auto, bf16, fp16, fp32).

    Nothing is fetched. Raises ModelError, naming the file, for what is missing, cut off or of another shape.
    """
    facts = check_folder(folder).facts
    place = torch.device(device)
    dtype = choose(precision, place)
    if dtype is torch.float32 and place.type == "cuda":
        # TF32 rounds operands to ten bits; fp32 is asked for when results must not depend on what shares a batch.
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
    try:
        model, report = getattr(transformers, CLASSES[facts.architecture]).from_pretrained(
            folder,
            dtype=dtype,
            local_files_only=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # so that they are named; they are refused below
        )
        extractor = transformers.NemotronAsrStreamingFeatureExtractor.from_pretrained(folder, local_files_only=True)
    except (OSError, RuntimeError, ValueError) as error:
        raise ModelError(f"{folder}: transformers cannot load it: {error}") from error
    _check_report(folder, report)
    if extractor.feature_size != facts.mel_bins:
        raise ModelError(
            f"{folder / 'preprocessor_config.json'}: feature_size {extractor.feature_size}, "
            f"expected the model's {facts.mel_bins}"
        )
    return Loaded(model.to(place).eval().requires_grad_(requires_grad=False), extractor, facts, place)


def _check_report(folder: Path, report: Mapping[str, Iterable[Any]]) -> None:
    """Raise ModelError unless every tensor of the class was there, of its shape, and no other."""
    wrong = [f"{name} is missing" for name in report.get("missing_keys", ())]
    wrong += [f"{name} is none of the model's" for name in report.get("unexpected_keys", ())]
    wrong += [
        f"{name} is {list(found)}, expected {list(expected)}"
        for name, found, expected in report.get("mismatched_keys", ())
    ]
    if wrong:
        more = f", and {len(wrong) - _NAMED} more" if len(wrong) > _NAMED else ""
        raise ModelError(f"{folder}: weights: {', '.join(sorted(wrong)[:_NAMED])}{more}")
