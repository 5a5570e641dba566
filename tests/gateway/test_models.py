import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamstack_gateway.dialects.v3 import V3
from streamstack_gateway.errors import Code, SessionError
from streamstack_gateway.models import (
    KNOWN_MODELS,
    ModelMap,
    ModelMapError,
    Resolved,
    formats_always,
    is_licensed,
    parse_pairs,
)

ENGLISH = Resolved("english", "en-default", "universal-streaming-english")
MULTILINGUAL = Resolved("multilingual", "ml-default", "universal-streaming-multilingual")
PRO = Resolved("pro", "u3-pro", "universal-3-5-pro")
ALL = {"en-default": "english", "ml-default": "multilingual", "u3-pro": "pro"}


def resolve(models: ModelMap, query: str = "") -> Resolved:
    return models.resolve(V3().request(f"/v3/ws?{query}"))


def resolved_or_error(models: ModelMap, query: str) -> Resolved | SessionError:
    try:
        return resolve(models, query)
    except SessionError as error:
        return error


def refusal(models: ModelMap, query: str) -> SessionError:
    with pytest.raises(SessionError) as caught:
        resolve(models, query)
    assert caught.value.code is Code.INVALID_INPUT
    return caught.value


@pytest.mark.parametrize(
    ("speech_model", "resolved"),
    [
        ("universal-streaming-english", ENGLISH),
        ("universal-streaming-multilingual", MULTILINGUAL),
        ("u3-rt-pro", PRO),
        ("u3-rt-pro-beta-1", PRO),
        ("u3-pro", PRO),
        ("universal-3-5-pro", PRO),
        ("universal-3-6", PRO),
        ("universal-3-6-pro", PRO),
        ("en-default", ENGLISH),
        ("ml-default", MULTILINGUAL),
    ],
)
def test_every_name_of_the_seeds_reaches_its_pool(speech_model, resolved):
    assert resolve(ModelMap(ALL), f"speech_model={speech_model}") == resolved


@pytest.mark.parametrize(
    ("query", "resolved"),
    [
        ("", ENGLISH),
        ("language=en", ENGLISH),
        ("language=en-US", ENGLISH),
        ("language=multi", MULTILINGUAL),
        ("language=fr", MULTILINGUAL),
        ("language=fr&speech_model=universal-streaming-english", ENGLISH),
    ],
)
def test_the_language_chooses_only_where_no_model_is_named(query, resolved):
    assert resolve(ModelMap(ALL), query) == resolved


def test_agent_frameworks_are_answered_in_english_where_no_pro_pool_is_deployed():
    resolved = resolve(ModelMap({"en-default": "english"}), "speech_model=universal-3-6-pro")

    assert resolved == Resolved("english", "en-default", "universal-streaming-english", substituted=True)


def test_the_default_fallback_follows_the_default_model():
    models = ModelMap(ALL | {"u3-pro": "pro"}, default="ml-default")
    without_pro = ModelMap({"en-default": "english", "ml-default": "multilingual"}, default="ml-default")

    assert resolve(models) == MULTILINGUAL
    assert resolve(without_pro, "speech_model=u3-rt-pro").pool == "multilingual"


def test_without_an_english_pool_the_first_one_answers_those_who_name_no_model():
    models = ModelMap({"ml-default": "multilingual", "u3-pro": "pro"})

    assert resolve(models) == MULTILINGUAL
    assert resolve(models, "language=en") == MULTILINGUAL


def test_no_other_model_stands_in_unless_the_map_says_so():
    english_only = ModelMap({"en-default": "english"})

    for query in ("speech_model=universal-streaming-multilingual", "speech_model=whisper-rt", "language=fr"):
        assert refusal(english_only, query).reason == "model_without_pool"
    assert refusal(ModelMap({"en-default": "e"}, fallbacks={}), "speech_model=u3-pro").reason == "model_without_pool"


def test_a_fallback_can_be_for_one_name_for_a_model_or_for_all():
    models = ModelMap(
        {"en-default": "english", "ml-default": "multilingual"},
        fallbacks={"universal-3-6-pro": "ml-default", "u3-pro": "en-default", "*": "ml-default"},
    )

    assert resolve(models, "speech_model=universal-3-6-pro").pool == "multilingual"
    assert resolve(models, "speech_model=u3-rt-pro").pool == "english"
    assert resolve(models, "speech_model=whisper-rt").pool == "multilingual"


def test_an_unknown_name_is_refused_with_the_known_ones():
    error = refusal(ModelMap(ALL), "speech_model=universal-9")

    assert error.reason == "unknown_model"
    assert error.message.startswith(
        "User Input Validation Error: Invalid 'speech_model': Input should be 'en-default',"
    )
    assert "'universal-3-6-pro'" in error.message
    assert "'universal-9'" in error.message


def test_aliases_add_names_and_the_star_takes_every_unknown_one():
    models = ModelMap(ALL, aliases={"our-model": "ml-default", "*": "universal-3-6-pro"})

    assert resolve(models, "speech_model=our-model") == MULTILINGUAL
    assert resolve(models, "speech_model=universal-9") == PRO


def test_two_generations_of_pro_run_side_by_side_under_their_own_names():
    models = ModelMap({"en-default": "english", "universal-3-5-pro": "new", "u3-rt-pro": "old"})

    assert resolve(models, "speech_model=u3-rt-pro") == Resolved("old", "u3-rt-pro", "u3-rt-pro")
    assert resolve(models, "speech_model=universal-3-6-pro") == Resolved(
        "new", "universal-3-5-pro", "universal-3-5-pro"
    )


def test_a_pool_may_bring_a_model_of_its_own():
    models = ModelMap({"en-default": "english", "dialect-x": "special"})

    assert resolve(models, "speech_model=dialect-x") == Resolved("special", "dialect-x", "dialect-x")


def test_settings_configure_the_map():
    models = ModelMap.configure(
        {"en-default": "english"}, aliases=" a = u3-pro , b=en-default", fallbacks="u3-pro=en-default", default=""
    )

    assert resolve(models, "speech_model=a").substituted
    assert not resolve(models, "speech_model=b").substituted
    assert resolve(ModelMap.configure({"en-default": "english"}), "speech_model=u3-pro").pool == "english"
    none = ModelMap.configure({"en-default": "english"}, fallbacks="none")
    assert refusal(none, "speech_model=u3-pro").reason == "model_without_pool"


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"aliases": "a"}, "aliases: 'a' is no entry. Expected name=value"),
        ({"aliases": "a=en-default,"}, "aliases: '' is no entry"),
        ({"aliases": "a=en-default,a=ml-default"}, "aliases: 'a' is given twice"),
        ({"aliases": "a=nothing"}, "aliases: unknown model 'nothing'. Expected one of "),
        ({"fallbacks": "nothing=en-default"}, "fallbacks: unknown model 'nothing'"),
        ({"fallbacks": "u3-pro=nothing"}, "fallbacks: unknown model 'nothing'"),
        ({"default": "nothing"}, "default: unknown model 'nothing'"),
        ({"default": "ml-default"}, "default: 'ml-default' has no pool. Expected one of en-default"),
    ],
)
def test_a_setting_that_makes_no_sense_is_named(settings, named):
    with pytest.raises(ModelMapError, match=f"^{named}"):
        ModelMap.configure({"en-default": "english"}, **settings)


def test_a_map_without_pools_is_refused():
    with pytest.raises(ModelMapError, match="pools: expected at least one"):
        ModelMap({})


@given(
    st.sets(st.sampled_from(["en-default", "ml-default", "u3-pro", "universal-3-6-pro", "own"]), min_size=1),
    st.sampled_from(sorted(KNOWN_MODELS)) | st.text("abc-*", min_size=1, max_size=5),
    st.booleans(),
)
def test_whoever_answers_is_deployed_and_a_stranger_only_by_fallback(pools, speech_model, with_fallback):
    models = ModelMap({name: f"pool-{name}" for name in pools}, fallbacks={"*": "default"} if with_fallback else {})

    outcome = resolved_or_error(models, f"speech_model={speech_model}")

    if isinstance(outcome, SessionError):
        assert outcome.reason == "unknown_model" or not with_fallback
    else:
        assert outcome.model_version in pools
        assert outcome.pool == f"pool-{outcome.model_version}"
        same = KNOWN_MODELS.get(speech_model) == KNOWN_MODELS.get(outcome.model_version)
        assert outcome.substituted is not same


@given(st.dictionaries(st.text("ab-*", min_size=1), st.text("cd", min_size=1)))
def test_pairs_survive_their_spelling(pairs):
    assert parse_pairs("x", " , ".join(f"{name} = {value}" for name, value in pairs.items())) == pairs


def test_only_pro_models_format_without_being_asked():
    assert formats_always("universal-3-6-pro")
    assert not formats_always("universal-streaming-english")
    assert not formats_always(None)


@pytest.mark.parametrize(
    "models",
    [
        None,
        ["*"],
        ["english"],  # the pool
        ["en-default"],  # the routing name
        ["universal-streaming-english"],  # as Begin shows it
        ["u3-pro", "english"],
    ],
)
def test_a_license_names_a_model_as_users_know_it(models: list[str] | None) -> None:
    assert is_licensed(ENGLISH, models)


@pytest.mark.parametrize("name", ["u3-pro", "u3-rt-pro", "universal-3-6-pro", "universal-3-5-pro", "pro"])
def test_any_of_a_models_names_in_a_license_is_that_model(name: str) -> None:
    assert is_licensed(PRO, [name])
    assert not is_licensed(ENGLISH, [name])
    assert not is_licensed(MULTILINGUAL, [name])


@pytest.mark.parametrize("models", [[], ["multilingual"], ["English"], ["en"], ["universal"], ["whisper-rt"]])
def test_a_license_that_does_not_name_a_model_does_not_include_it(models: list[str]) -> None:
    assert not is_licensed(ENGLISH, models)


def test_a_license_for_a_model_of_the_stacks_own_name_includes_that_alone() -> None:
    own = Resolved("mine", "my-model", "my-model")
    assert is_licensed(own, ["my-model"])
    assert not is_licensed(own, ["english", "u3-pro"])
