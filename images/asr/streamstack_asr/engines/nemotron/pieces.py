"""Tokens as pieces of text, one by one, and words as tokens. The tokenizer is the model folder's ``tokenizer.json``."""

import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, NamedTuple

from streamstack_asr.engines.nemotron.facts import ModelError, read_object

WORD_START: Final = "▁"
"""SentencePiece's mark of a space before a piece."""
TOKENIZER: Final = "tokenizer.json"

_BYTE: Final = re.compile(r"<0x([0-9A-F]{2})>")
_LANGUAGE: Final = re.compile(r"<([a-z]{2,3}(?:-[A-Za-z]{2,4})?)>")


class Piece(NamedTuple):
    """What a token adds: ``text`` in UTF-8 (a piece may be part of a character), or the ``language`` it names."""

    text: bytes
    begins_word: bool = False
    is_punctuation: bool = False
    language: str = ""


NOTHING: Final = Piece(b"")


class Pieces:
    """The pieces of a model's vocabulary."""

    def __init__(self, pieces: dict[int, Piece], tokenizer: Any) -> None:
        self._pieces = pieces
        self._tokenizer = tokenizer

    @classmethod
    def load(cls, folder: Path) -> "Pieces":
        """Read the tokenizer of a model folder. Raises ModelError."""
        import tokenizers

        path = folder / TOKENIZER
        special = {entry["id"] for entry in read_object(path).get("added_tokens") or () if entry.get("special")}
        try:
            tokenizer = tokenizers.Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises no narrower type
            raise ModelError(f"{path}: no tokenizer ({error}), expected one of the tokenizers library") from error
        vocabulary = tokenizer.get_vocab(with_added_tokens=True)
        return cls({token: _piece(text, is_special=token in special) for text, token in vocabulary.items()}, tokenizer)

    def piece(self, token: int) -> Piece:
        """What ``token`` adds to the text; nothing for one that the vocabulary lacks."""
        return self._pieces.get(token, NOTHING)

    @property
    def has_punctuation(self) -> bool:
        """Whether the model can write marks."""
        return any(piece.is_punctuation for piece in self._pieces.values())

    @property
    def has_case(self) -> bool:
        """Whether the model writes capitals."""
        return any(piece.text != piece.text.lower() for piece in self._pieces.values())

    def encode(self, terms: Iterable[str]) -> tuple[tuple[int, ...], ...]:
        """Return ``terms`` as tokens, with a capital first letter too where the model writes capitals.

        A term with a letter that no piece has cannot be heard and is left out.
        """
        found: dict[tuple[int, ...], None] = {}
        for term in terms:
            spelt = " ".join(term.split())
            variants = [spelt, spelt[:1].upper() + spelt[1:]] if self.has_case else [spelt.lower()]
            for variant in variants:
                tokens = tuple(self._tokenizer.encode(variant, add_special_tokens=False).ids)
                if tokens and self._spells(tokens, variant):
                    found[tokens] = None
        return tuple(found)

    def _spells(self, tokens: tuple[int, ...], term: str) -> bool:
        return b"".join(self.piece(token).text for token in tokens).decode("utf-8", errors="replace").strip() == term


def _piece(text: str, *, is_special: bool) -> Piece:
    if language := _LANGUAGE.fullmatch(text):
        return Piece(b"", language=language[1])
    if byte := _BYTE.fullmatch(text):
        return Piece(bytes([int(byte[1], 16)]))
    if is_special:
        return NOTHING
    begins = text.startswith(WORD_START)
    shown = text.replace(WORD_START, " ")
    spoken = shown.strip()
    marks = bool(spoken) and all(unicodedata.category(letter).startswith("P") for letter in spoken)
    # An apostrophe belongs into a word, and its voice goes on behind it.
    return Piece(shown.encode(), begins, marks and spoken != "'")
