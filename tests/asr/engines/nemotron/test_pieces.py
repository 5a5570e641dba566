import shutil
from pathlib import Path

import pytest

from streamstack_asr.engines.nemotron.facts import ModelError
from streamstack_asr.engines.nemotron.pieces import Pieces
from support.tiny_model import MODEL

pytestmark = pytest.mark.nemotron


def tokenizer(folder: Path, pieces: list[str], *, byte_fallback: bool = True) -> Pieces:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    made = Tokenizer(models.BPE(vocab=vocabulary, merges=[], byte_fallback=byte_fallback))
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.decoder = decoders.Metaspace()
    made.save(str(folder / "tokenizer.json"))
    return Pieces.load(folder)


def test_a_word_mark_is_a_space_before_the_piece(tmp_path: Path) -> None:
    pieces = tokenizer(tmp_path, ["▁", "▁a", "b", ".", "'", "▁Q"])
    assert pieces.piece(1) == (b" a", True, False, "")
    assert pieces.piece(2) == (b"b", False, False, "")
    assert pieces.piece(3).is_punctuation
    assert not pieces.piece(4).is_punctuation
    assert pieces.has_punctuation
    assert pieces.has_case


def test_a_token_of_another_vocabulary_adds_nothing(tmp_path: Path) -> None:
    assert tokenizer(tmp_path, ["▁a"]).piece(77).text == b""


def test_characters_come_together_from_bytes(tmp_path: Path) -> None:
    pieces = tokenizer(tmp_path, ["▁", "<0xC3>", "<0xA4>"])
    assert (pieces.piece(1).text + pieces.piece(2).text).decode() == "ä"


def test_a_language_tag_names_a_language_and_writes_nothing(tmp_path: Path) -> None:
    piece = tokenizer(tmp_path, ["▁a", "<de-DE>"]).piece(1)
    assert (piece.text, piece.language) == (b"", "de-DE")


def test_key_terms_are_spelt_as_the_vocabulary_can_and_left_out_where_it_cannot(tmp_path: Path) -> None:
    pieces = tokenizer(tmp_path, ["▁", "a", "b"], byte_fallback=False)
    assert pieces.encode(["AB", "ab", "xyz", " "]) == ((0, 1, 2),)


def test_a_term_may_begin_a_sentence_where_the_model_writes_capitals(tmp_path: Path) -> None:
    pieces = tokenizer(tmp_path, ["▁", "a", "b", "A"], byte_fallback=False)
    assert pieces.encode(["ab"]) == ((0, 1, 2), (0, 3, 2))


def test_the_small_model_spells_its_own_words() -> None:
    pieces = Pieces.load(MODEL)
    (term,) = pieces.encode(["seven of clubs"])
    assert b"".join(pieces.piece(token).text for token in term) == b" seven of clubs"
    assert not pieces.has_punctuation


def test_a_file_that_is_no_tokenizer_is_named(tmp_path: Path) -> None:
    shutil.copy(MODEL / "config.json", tmp_path / "tokenizer.json")
    with pytest.raises(ModelError, match=r"tokenizer\.json: no tokenizer"):
        Pieces.load(tmp_path)
