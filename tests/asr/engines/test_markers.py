import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamstack_asr.engines.base import EngineEvent, Final, Hypothesis, SessionConfig, SessionStart, Word
from streamstack_asr.engines.scripted.markers import BLOCK_SAMPLES, MAGIC, Block, Decoder, Kind, Sound, encode
from streamstack_asr.engines.scripted.session import ScriptedSession
from support.scripted_audio import Script, script

HUNDRED_MS = 2 * 1600
TEXT = "the quick fox jumps over it"


def hear(pcm: bytes, *, pieces: list[int] | None = None, first_sample: int = 0) -> list[Word]:
    """Words a session hears, pushed in pieces of so many samples (the rest at once)."""
    heard: list[Word] = []

    def emit(event: EngineEvent) -> None:
        if isinstance(event, Hypothesis | Final):
            heard.extend(word for word in event.words if word.is_final)

    session = ScriptedSession(SessionStart("s", "m", first_sample, 0, first_sample, SessionConfig()), emit)
    at = 0
    for samples in pieces or []:
        session.push(pcm[at : at + 2 * samples])
        at += 2 * samples
    session.push(pcm[at:])
    session.end_turn(0, first_sample + len(pcm) // 2)
    return heard


def text(words: list[Word]) -> str:
    return " ".join(word.text for word in words)


def expected(made: Script) -> list[tuple[str, int, int]]:
    return [(word.text, word.start_sample, word.end_sample) for word in made.words]


@given(st.lists(st.integers(0, 3000), max_size=40), st.integers(0, 700))
def test_any_cutting_of_the_audio_gives_the_same_words_at_the_same_places(pieces: list[int], unmarked: int) -> None:
    made = script(TEXT)
    words = hear(bytes(2 * unmarked) + made.pcm, pieces=pieces)
    assert [(w.text, w.start_sample - unmarked, w.end_sample - unmarked) for w in words] == expected(made)


@given(st.data())
def test_dropping_any_hundred_milliseconds_shows(data: st.DataObject) -> None:
    made = script(TEXT)
    # What is cut off the very end leaves no trace behind it, as with any audio; one more block must follow.
    cut = 2 * data.draw(st.integers(2 * BLOCK_SAMPLES, (len(made.pcm) - HUNDRED_MS) // 2 - BLOCK_SAMPLES))
    heard = text(hear(made.pcm[:cut] + made.pcm[cut + HUNDRED_MS :]))
    assert heard != made.text
    assert "[skip+" in heard


@given(st.data())
def test_doubling_any_hundred_milliseconds_shows(data: st.DataObject) -> None:
    made = script(TEXT)
    cut = 2 * data.draw(st.integers(0, (len(made.pcm) - HUNDRED_MS) // 2))
    heard = text(hear(made.pcm[: cut + HUNDRED_MS] + made.pcm[cut:]))
    assert "[repeat-" in heard


@given(st.integers(BLOCK_SAMPLES, 20 * BLOCK_SAMPLES), st.integers(1, BLOCK_SAMPLES - 1))
def test_dropping_less_than_a_block_shows_too(cut: int, length: int) -> None:
    made = script(TEXT)
    assert text(hear(made.pcm[: 2 * cut] + made.pcm[2 * (cut + length) :])) != made.text


def test_a_jump_is_a_word_of_its_own_where_it_happened() -> None:
    made = script("hello", lead_ms=40, tail_ms=400)
    cut = 2 * 9 * BLOCK_SAMPLES
    words = hear(made.pcm[:cut] + made.pcm[cut + HUNDRED_MS :])
    assert [(w.text, w.start_sample) for w in words] == [("hello", 640), ("[skip+5]", 9 * BLOCK_SAMPLES)]


@given(st.binary(max_size=4000), st.binary(max_size=200))
def test_no_bytes_can_break_the_decoder_and_markers_after_them_are_read(noise: bytes, tail: bytes) -> None:
    noise = noise[: len(noise) // 2 * 2]
    tail = tail[: len(tail) // 2 * 2]
    block = encode(Kind.WORD_START, "ж", 70_000)
    decoder = Decoder()
    found = decoder.feed(noise) + decoder.feed(block) + decoder.feed(tail)
    blocks = [item for item in found if isinstance(item, Block)]
    assert Block(len(noise) // 2, Kind.WORD_START, "ж", 70_000) in blocks


def test_a_header_glued_together_from_two_blocks_is_not_read() -> None:
    first, second = encode(Kind.WORD_START, "a", 1), encode(Kind.WORD_START, "b", 500)
    glued = first[:12] + second[12:]
    assert not [item for item in Decoder().feed(glued) if isinstance(item, Block)]


def test_loud_samples_without_a_marker_are_sound_and_quiet_ones_nothing() -> None:
    loud = (2000).to_bytes(2, "little", signed=True)
    quiet = (100).to_bytes(2, "little", signed=True)
    assert Decoder().feed(quiet * 50 + loud * 3 + quiet * 50) == [Sound(50, 53)]
    assert Decoder().feed(quiet * 400) == []


def test_a_marker_between_two_samples_is_not_one() -> None:
    assert MAGIC
    shifted = b"\0" + encode(Kind.WORD_START, "a", 1) + b"\0"
    assert not [item for item in Decoder().feed(shifted) if isinstance(item, Block)]


@pytest.mark.parametrize(("kind", "letter"), [(Kind.SILENCE, "a"), (Kind.LETTER, ""), (Kind.LETTER, "\ud800")])
def test_what_cannot_be_written_is_refused(kind: Kind, letter: str) -> None:
    with pytest.raises(ValueError, match="expected one BMP letter"):
        encode(kind, letter, 0)
