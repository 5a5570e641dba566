import pytest

from streamstack_asr.engines.nemotron.facts import ModelFacts
from streamstack_asr.engines.nemotron.languages import LanguageError, offered, prompt_of


def facts(**prompts: int) -> ModelFacts:
    named = {name.replace("_", "-"): prompt for name, prompt in prompts.items()}
    return ModelFacts(
        architecture="nemotron3_5_asr",
        mel_bins=80,
        hidden_size=8,
        layers=1,
        heads=1,
        left_context_frames=28,
        vocab_size=10,
        blank_token=9,
        lookaheads=(6,),
        default_lookahead=6,
        languages=tuple(name for name in named if "-" in name),
        prompts=named,
    )


MANY = facts(auto=101, en_US=0, en_GB=1, de_DE=9, de=9)
ENGLISH = facts()


@pytest.mark.parametrize(
    ("language", "prompt"),
    [("", 101), ("auto", 101), ("en-GB", 1), ("EN_gb", 1), ("de", 9), ("de-AT", 9), ("en", 0), ("en-AU", 0)],
)
def test_a_session_is_heard_in_the_language_that_it_names(language: str, prompt: int) -> None:
    assert prompt_of(language, MANY) == prompt


def test_a_language_that_the_model_lacks_is_refused_with_those_it_has() -> None:
    with pytest.raises(LanguageError, match="language 'fi': expected auto or one of en-US, en-GB, de-DE"):
        prompt_of("fi", MANY)


@pytest.mark.parametrize("language", ["", "en", "en-US", "auto"])
def test_a_model_of_english_alone_needs_no_prompt(language: str) -> None:
    assert prompt_of(language, ENGLISH) is None


def test_a_model_of_english_alone_refuses_others() -> None:
    with pytest.raises(LanguageError, match="language 'de': expected en"):
        prompt_of("de", ENGLISH)


def test_what_is_offered_are_tags() -> None:
    assert offered(MANY) == ("en-US", "en-GB", "de-DE")
    assert offered(ENGLISH) == ("en",)
