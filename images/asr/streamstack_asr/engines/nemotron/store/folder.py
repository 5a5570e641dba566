"""A model folder as a whole: whether what is needed is there and fits together."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from streamstack_asr.engines.nemotron.facts import ModelError, ModelFacts, read_facts, read_object
from streamstack_asr.engines.nemotron.store.weights import Weights, check_shapes, read_weights

TOKENIZER: Final = "tokenizer.json"


@dataclass(frozen=True, slots=True)
class Content:
    """What a folder holds, by its configuration and by its weights."""

    facts: ModelFacts
    weights: Weights


def check_folder(folder: Path) -> Content:
    """Check a folder by its JSON files and the headers of its weights; no tensor is read. Raises ModelError."""
    if not folder.is_dir():
        raise ModelError(f"{folder}: {'no folder' if folder.exists() else 'missing'}, expected a model folder")
    facts = read_facts(folder)
    _check_tokenizer(folder / TOKENIZER, facts)
    weights = read_weights(folder)
    check_shapes(folder, weights, facts)
    return Content(facts, weights)


def _check_tokenizer(path: Path, facts: ModelFacts) -> None:
    """Every token but blank has its piece of text, and none is beyond the vocabulary."""
    whole = read_object(path)
    model = whole.get("model")
    pieces = _ids(model.get("vocab") if isinstance(model, dict) else None)
    if pieces is None:
        raise ModelError(f"{path}: model.vocab is missing or empty, expected the pieces of a tokenizer")
    added = whole.get("added_tokens")
    for token in added if isinstance(added, list) else []:
        if isinstance(token, dict) and isinstance(token.get("id"), int):
            pieces.add(token["id"])
    if max(pieces) >= facts.vocab_size or min(pieces) < 0:
        raise ModelError(
            f"{path}: has token {max(pieces)}, expected below vocab_size {facts.vocab_size} of config.json"
        )
    without = set(range(facts.vocab_size)) - pieces - {facts.blank_token}
    if without:
        raise ModelError(
            f"{path}: has {len(pieces)} pieces and none for token {min(without)}, expected one for each of the "
            f"{facts.vocab_size - 1} tokens of config.json"
        )


def _ids(vocabulary: Any) -> set[int] | None:
    """Return token ids: a dictionary of them (BPE, WordPiece), or a list in their order (Unigram)."""
    if isinstance(vocabulary, list) and vocabulary:
        return set(range(len(vocabulary)))
    if isinstance(vocabulary, dict) and vocabulary and all(isinstance(value, int) for value in vocabulary.values()):
        return set(vocabulary.values())
    return None
