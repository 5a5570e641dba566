"""Minimal written form for engines that know no punctuation: case at the turn's start, `I`, a full stop at its end.

A model with its own punctuation is left alone. Only sessions that asked for formatting see it.
"""

from collections.abc import Sequence
from dataclasses import replace

from streamstack_gateway.dialects.events import Word


def formatted(words: Sequence[Word], *, complete: bool) -> tuple[Word, ...]:
    """The words of a turn in written form; ``complete`` also ends the sentence."""
    if not words:
        return ()
    shown = [_cased(word, first=index == 0) for index, word in enumerate(words)]
    if complete and shown[-1].text[-1:].isalnum():
        shown[-1] = replace(shown[-1], text=shown[-1].text + ".")
    return tuple(shown)


def _cased(word: Word, *, first: bool) -> Word:
    text = word.text
    if text == "i" or text.startswith("i'"):
        text = "I" + text[1:]
    elif first and text[:1].islower():
        text = text[0].upper() + text[1:]
    return word if text == word.text else replace(word, text=text)
