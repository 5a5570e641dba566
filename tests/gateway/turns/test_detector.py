from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from streamstack_common.contracts.rpc import (
    PROFILE_CERTAIN,
    PROFILE_WINDOW_SAMPLES,
    ms_to_samples,
    samples_to_ms,
)
from streamstack_gateway.dialects.events import TurnSettings
from streamstack_gateway.turns.detector import Decision, Signs, TurnDetector, end_of_turn_confidence

SETTINGS = TurnSettings(
    end_of_turn_confidence_threshold=0.4,
    min_turn_silence_ms=400,
    max_turn_silence_ms=1280,
    vad_threshold=0.4,
    format_turns=False,
    include_partial_turns=True,
)


def run(
    settings: TurnSettings, *, speech_ms: int, last_word: str, spoken_ms: int = 500, until_ms: int = 20_000
) -> int | None:
    """Speech, then silence in steps of 20 ms; the silence at which the turn ends, None when it does not."""
    detector = TurnDetector(settings)
    detector.start(0)
    for at_ms in range(20, speech_ms + until_ms, 20):
        speaking = at_ms <= speech_ms
        signs = Signs(
            through_sample=ms_to_samples(at_ms),
            speech_probability=1.0 if speaking else 0.0,
            trailing_silence_ms=0 if speaking else at_ms - speech_ms,
            turn_complete_probability=None,
            spoken_ms=spoken_ms,
            last_word=last_word,
        )
        if detector.observe(signs) is Decision.END:
            return at_ms - speech_ms
    return None


def test_a_sentence_ends_after_the_minimum_silence() -> None:
    assert run(SETTINGS, speech_ms=1000, last_word="mill") == 400


def test_a_word_that_leaves_the_sentence_open_waits_longer() -> None:
    silence_ms = run(SETTINGS, speech_ms=1000, last_word="the")
    assert silence_ms is not None
    assert 400 < silence_ms < 1280


def test_a_threshold_of_one_leaves_it_to_the_maximum_silence_alone() -> None:
    assert run(replace(SETTINGS, end_of_turn_confidence_threshold=1.0), speech_ms=1000, last_word="mill.") == 1280


def test_a_threshold_of_zero_ends_every_turn_at_the_minimum_silence() -> None:
    assert run(replace(SETTINGS, end_of_turn_confidence_threshold=0.0), speech_ms=1000, last_word="the") == 400


def test_a_maximum_below_the_minimum_decides_alone() -> None:
    assert run(replace(SETTINGS, max_turn_silence_ms=100), speech_ms=1000, last_word="the") == 100


def test_less_than_eighty_milliseconds_of_speech_are_no_turn() -> None:
    assert run(SETTINGS, speech_ms=1000, last_word="a", spoken_ms=79) is None


def test_one_pause_is_reported_once_and_the_next_one_again() -> None:
    detector = TurnDetector(replace(SETTINGS, end_of_turn_confidence_threshold=1.0))
    detector.start(0)
    decisions = []
    for at_ms in range(20, 3000, 20):
        speaking = at_ms <= 500 or 1200 <= at_ms < 1800
        blank_ms = 0 if speaking else at_ms - (500 if at_ms < 1200 else 1780)
        signs = Signs(ms_to_samples(at_ms), float(speaking), blank_ms, None, 400, "word")
        decisions.append(detector.observe(signs))
    assert decisions.count(Decision.PAUSE) == 2


def test_noise_that_the_decoder_finds_no_words_in_does_not_keep_a_turn_open() -> None:
    detector = TurnDetector(SETTINGS)
    detector.start(0)
    ends = [
        at_ms
        for at_ms in range(20, 4000, 20)
        if detector.observe(Signs(ms_to_samples(at_ms), 0.9, at_ms, None, 400, "word")) is Decision.END
    ]
    assert ends
    assert ends[0] > 1280


@given(st.integers(0, 10_000), st.text(max_size=5), st.none() | st.floats(0, 1))
def test_confidence_is_a_probability_below_one(silence_ms: int, last_word: str, complete: float | None) -> None:
    assert 0 <= end_of_turn_confidence(silence_ms, last_word, turn_complete_probability=complete) < 1


@given(st.integers(0, 5_000), st.sampled_from(["mill", "the", "mill."]))
def test_confidence_grows_with_silence(silence_ms: int, last_word: str) -> None:
    assert end_of_turn_confidence(silence_ms, last_word) <= end_of_turn_confidence(silence_ms + 100, last_word)


def heard(windows: list[int], *, windows_a_step: int, quiet_since: list[int]) -> list[Decision]:
    """What a detector says at the end of each ``windows_a_step`` windows; the decoder's silence is without a delay."""
    detector = TurnDetector(SETTINGS)
    detector.start(0)
    said = []
    for end in range(windows_a_step, len(windows) + 1, windows_a_step):
        step = windows[end - windows_a_step : end]
        signs = Signs(
            through_sample=end * PROFILE_WINDOW_SAMPLES,
            speech_probability=max(step) / PROFILE_CERTAIN,
            trailing_silence_ms=samples_to_ms(quiet_since[end - 1] * PROFILE_WINDOW_SAMPLES),
            turn_complete_probability=None,
            spoken_ms=500,
            last_word="mill",
            speech_profile=bytes(step),
        )
        said.append(detector.observe(signs))
    return said


@given(windows=st.lists(st.sampled_from([0, 80, 120, 255]), min_size=48, max_size=96), steps=st.integers(2, 16))
def test_long_steps_with_a_profile_decide_as_short_ones_do_at_the_same_place(windows: list[int], steps: int) -> None:
    limit = SETTINGS.vad_threshold * PROFILE_CERTAIN
    quiet_since, quiet = [], 0
    for window in windows:
        quiet = 0 if window >= limit else quiet + 1
        quiet_since.append(quiet)
    short = heard(windows, windows_a_step=1, quiet_since=quiet_since)
    long = heard(windows, windows_a_step=steps, quiet_since=quiet_since)
    for place, decision in enumerate(long, 1):
        assert (decision is Decision.END) == (short[place * steps - 1] is Decision.END)


def test_silence_at_the_end_of_a_step_counts_with_a_profile_and_not_without_one() -> None:
    profile = bytes([255] * 4 + [0] * 13)
    signs = Signs(
        through_sample=17 * PROFILE_WINDOW_SAMPLES,
        speech_probability=1.0,
        trailing_silence_ms=416,
        turn_complete_probability=None,
        spoken_ms=500,
        last_word="mill",
    )
    for given_profile, decision in ((profile, Decision.END), (b"", Decision.CONTINUE)):
        detector = TurnDetector(SETTINGS)
        detector.start(0)
        assert detector.observe(replace(signs, speech_profile=given_profile)) is decision


def test_pauses_are_found_in_audio_that_is_gone_through_again_for_the_next_turn() -> None:
    detector = TurnDetector(SETTINGS)
    detector.start(0)
    steps = [(1_000, 1.0, 0), (1_500, 0.0, 500)]
    signs = [
        Signs(ms_to_samples(at_ms), speech, silence_ms, None, 500, "mill", bytes([255 if speech else 0]))
        for at_ms, speech, silence_ms in steps
    ]
    detector.observe(replace(signs[0], through_sample=ms_to_samples(9_000)))
    detector.start(ms_to_samples(500))
    assert [detector.observe(one) for one in signs] == [Decision.CONTINUE, Decision.END]
