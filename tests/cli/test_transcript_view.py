"""What of a transcript is on the screen."""

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from streamstack_cli.transcript_view import TranscriptView, printable, tail
from streamstack_cli.v3 import Turn

ERASE = "\r\x1b[K"
words = st.text(st.characters(categories=["L"]), min_size=1, max_size=6)
phrases = st.lists(words, min_size=1, max_size=4).map(" ".join)


def partial(order: int, text: str, *, formatted: bool = False) -> Turn:
    return Turn(order, end_of_turn=False, is_formatted=formatted, text=text)


def final(order: int, text: str, *, formatted: bool = True) -> Turn:
    return Turn(order, end_of_turn=True, is_formatted=formatted, text=text)


def test_a_partial_is_redrawn_in_place_on_a_terminal() -> None:
    view = TranscriptView(formatted=True)
    assert view.turn(partial(0, "turn"), columns=80) == f"{ERASE}turn"
    assert view.turn(partial(0, "turn left"), columns=80) == f"{ERASE}turn left"


def test_a_final_replaces_the_partial_and_stays_as_a_line() -> None:
    view = TranscriptView(formatted=True)
    view.turn(partial(0, "turn left"), columns=80)
    assert view.turn(final(0, "Turn left."), columns=80) == f"{ERASE}Turn left.\n"
    assert view.finish() == ""


def test_without_a_terminal_only_finals_are_written() -> None:
    view = TranscriptView(formatted=True)
    assert view.turn(partial(0, "turn"), columns=None) == ""
    assert view.turn(final(0, "Turn left."), columns=None) == "Turn left.\n"


def test_a_partial_that_is_never_finished_is_erased_at_the_end() -> None:
    view = TranscriptView(formatted=True)
    view.turn(partial(0, "turn"), columns=80)
    assert view.finish() == ERASE


def test_an_unformatted_end_waits_for_its_formatted_twin() -> None:
    view = TranscriptView(formatted=True)
    assert view.turn(final(0, "turn left", formatted=False), columns=None) == ""
    assert view.turn(final(0, "Turn left."), columns=None) == "Turn left.\n"
    assert view.finish() == ""


def test_an_unformatted_end_counts_when_no_formatted_one_comes() -> None:
    view = TranscriptView(formatted=True)
    view.turn(final(0, "turn left", formatted=False), columns=None)
    assert view.turn(partial(1, "then"), columns=None) == "turn left\n"
    view.turn(final(1, "then right", formatted=False), columns=None)
    assert view.finish() == "then right\n"


def test_an_empty_final_writes_no_line() -> None:
    assert TranscriptView(formatted=True).turn(final(0, ""), columns=None) == ""


def test_a_long_partial_shows_its_end() -> None:
    written = TranscriptView(formatted=True).turn(partial(0, "one two three four"), columns=11)
    assert written == f"{ERASE}…hree four"


def test_what_a_terminal_would_obey_is_not_written() -> None:
    written = TranscriptView(formatted=True).turn(final(0, "a\x1b[2Jb\r\nc\x9bd"), columns=80)
    assert written == "a [2Jb  c d\n"


@given(st.lists(st.tuples(phrases, st.lists(phrases), st.sampled_from(["formatted", "both", "unformatted"]))))
def test_every_turn_is_written_once_and_in_order(turns: list[tuple[str, list[str], str]]) -> None:
    view = TranscriptView(formatted=True)
    written = ""
    for order, (text, partials, generation) in enumerate(turns):
        for heard in partials:
            written += view.turn(partial(order, heard), columns=None)
        if generation in {"unformatted", "both"}:
            written += view.turn(final(order, text, formatted=False), columns=None)
        if generation in {"formatted", "both"}:
            written += view.turn(final(order, text), columns=None)
            written += view.turn(final(order, text), columns=None)
    written += view.finish()
    assert written.splitlines() == [text for text, _, _ in turns]


@given(st.text(), st.integers(1, 40))
def test_a_tail_fits_and_is_the_end_of_the_text(text: str, columns: int) -> None:
    shown = tail(text, columns)
    width = sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in {"W", "F"} else 1 for c in shown
    )
    assert width <= columns
    assert text.endswith(shown.removeprefix("…")) or shown == text


@given(st.text())
def test_printable_text_holds_no_control_character(text: str) -> None:
    assert printable(text).isprintable()
