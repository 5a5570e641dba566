"""Which of a model's languages a session means."""

from streamstack_asr.engines.base import EngineError
from streamstack_asr.engines.nemotron.facts import AUTO, ModelFacts

ENGLISH = "en"


class LanguageError(EngineError):
    """A language that the model does not hear; the message names those it does."""


def prompt_of(language: str, facts: ModelFacts) -> int | None:
    """Return the prompt for a BCP-47 tag, for ``auto``, or for "" (the model finds it itself); None: it has no prompts.

    A region the model does not know is the language's first one: ``de-AT`` is heard as ``de-DE``. Raises LanguageError.
    """
    wanted = language.replace("_", "-").casefold()
    if not facts.multilingual:
        if wanted not in ("", AUTO) and _primary(wanted) != ENGLISH:
            raise LanguageError(f"language {language!r}: expected en, this model hears English alone")
        return None
    if wanted in ("", AUTO):
        return facts.prompts[AUTO]
    named = {name.casefold(): prompt for name, prompt in facts.prompts.items()}
    if wanted in named:
        return named[wanted]
    same = (name for name in facts.languages if _primary(name.casefold()) == _primary(wanted))
    first = next(same, None)
    if first is None:
        raise LanguageError(f"language {language!r}: expected auto or one of {', '.join(facts.languages)}")
    return facts.prompts[first]


def offered(facts: ModelFacts) -> tuple[str, ...]:
    """Return the languages a server tells of, as BCP-47 tags."""
    return facts.languages or (ENGLISH,)


def _primary(tag: str) -> str:
    return tag.partition("-")[0]
