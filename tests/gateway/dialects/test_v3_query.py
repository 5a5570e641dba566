import json
from urllib.parse import quote, urlencode

import pytest
from assemblyai.streaming.v3 import _base as sdk_base
from assemblyai.streaming.v3 import models as sdk
from hypothesis import given
from hypothesis import strategies as st

from streamstack_gateway.dialects.events import Encoding, SessionRequest, TurnSettings
from streamstack_gateway.dialects.v3 import DEFAULTS, V3
from streamstack_gateway.dialects.v3.query import Query
from streamstack_gateway.dialects.v3.target import PARAMETERS_MAX, TARGET_BYTES_MAX
from streamstack_gateway.dialects.v3.unavailable import WarningCode
from streamstack_gateway.errors import Code, SessionError

any_text = st.text(st.characters(exclude_categories=[]))


def request(query: str = "", **parameters: object) -> SessionRequest:
    return V3().request(f"/v3/ws?{query or urlencode(parameters)}")


def refusal(target: str) -> SessionError:
    with pytest.raises(SessionError) as caught:
        V3().request(target)
    assert caught.value.code is Code.INVALID_INPUT
    return caught.value


def request_or_error(target: str) -> SessionRequest | SessionError:
    try:
        return V3().request(target)
    except SessionError as error:
        return error


def codes(asked: SessionRequest) -> list[int]:
    return [warning.code for warning in asked.warnings]


def test_a_bare_request_has_the_documented_defaults():
    assert request() == SessionRequest(
        speech_model=None,
        sample_rate=16000,
        encoding=Encoding.PCM_S16LE,
        turns=TurnSettings(
            end_of_turn_confidence_threshold=0.4,
            min_turn_silence_ms=400,
            max_turn_silence_ms=1280,
            vad_threshold=0.4,
            format_turns=False,
            include_partial_turns=True,
            filter_profanity=False,
        ),
    )


def test_the_defaults_of_turns_can_be_set():
    defaults = TurnSettings(0.7, 800, 3600, 0.3, format_turns=True, include_partial_turns=False)

    assert V3(defaults).request("/").turns == defaults
    assert V3(defaults).request("/?format_turns=false&min_turn_silence=60").turns == TurnSettings(
        0.7, 60, 3600, 0.3, format_turns=False, include_partial_turns=False
    )


# What clients send when their user configures nothing (reference 3.6).


def test_livekit_connects():
    asked = request(
        "sample_rate=16000&encoding=pcm_s16le&speech_model=universal-3-6-pro&min_turn_silence=100"
        "&max_turn_silence=100&language_detection=true"
    )

    assert asked.speech_model == "universal-3-6-pro"
    assert (asked.turns.min_turn_silence_ms, asked.turns.max_turn_silence_ms) == (100, 100)
    assert asked.language_detection
    assert asked.turns.format_turns  # as that model always does
    assert asked.warnings == ()


def test_pipecat_connects():
    asked = request(
        "sample_rate=16000&encoding=pcm_s16le&speech_model=universal-3-6-pro&formatted_finals=true"
        "&min_turn_silence=100&max_turn_silence=100&format_turns=true&continuous_partials=true"
    )

    assert asked.turns.format_turns
    assert asked.warnings == ()  # each would be an error to Pipecat


def test_the_self_hosting_example_connects_to_the_root():
    asked = V3().request("/?sample_rate=16000&format_turns=true&keyterms=" + quote(json.dumps(["Kowalczyk", "Mill"])))

    assert asked.keyterms == ("Kowalczyk", "Mill")
    assert asked.turns.format_turns


def test_the_python_sdk_connects_with_everything_it_can_say():
    parameters = sdk.RealTimeParameters(
        sample_rate=8000,
        encoding=sdk.Encoding.pcm_mulaw,
        speech_model=sdk.SpeechModel.universal_streaming_english,
        end_of_turn_confidence_threshold=0.5,
        min_end_of_turn_silence_when_confident=160,
        max_turn_silence=2400,
        vad_threshold=0.2,
        format_turns=True,
        filter_profanity=True,
        include_partial_turns=False,
        keyterms_prompt=["Łódź", "a b"],
        language_codes=["en"],
        language_detection=True,
        inactivity_timeout=30,
        session_heartbeat=True,
        llm_gateway=sdk.LLMGatewayConfig(model="m", messages=[], max_tokens=1),
        speaker_labels=False,
        redact_pii=True,
        redact_pii_policies=[next(iter(sdk.StreamingPiiPolicy))],
        voice_focus_threshold=0.5,
    )
    uri = sdk_base._build_uri("ws://127.0.0.1:1", parameters)

    assert "format_turns=True" in uri
    asked = V3().request(uri.removeprefix("ws://127.0.0.1:1"))
    assert asked == SessionRequest(
        speech_model="universal-streaming-english",
        sample_rate=8000,
        encoding=Encoding.PCM_MULAW,
        turns=TurnSettings(0.5, 160, 2400, 0.2, format_turns=True, include_partial_turns=False, filter_profanity=True),
        keyterms=("Łódź", "a b"),
        language="en",
        language_detection=True,
        inactivity_timeout_seconds=30,
        heartbeat=True,
        warnings=asked.warnings,
    )
    assert codes(asked) == [WarningCode.REDACT_PII, WarningCode.LLM_GATEWAY]


@pytest.mark.parametrize("text", ["true", "True", "TRUE", "1"])
def test_true_in_every_spelling(text):
    assert request(format_turns=text).turns.format_turns


@pytest.mark.parametrize("text", ["false", "False", "0"])
def test_false_in_every_spelling(text):
    assert not request(include_partial_turns=text).turns.include_partial_turns


@pytest.mark.parametrize(
    "query",
    [
        urlencode({"keyterms_prompt": '["a", "b c"]'}),
        urlencode({"keyterms_prompt": ' ["a","b c"]'}),
        "keyterms_prompt=a&keyterms_prompt=b+c",
        urlencode([("keyterms_prompt", '["a"]'), ("keyterms_prompt", '["b c"]')]),
        urlencode({"keyterms": '["a", "b c", "a", " "]'}),
        urlencode({"keyterms_prompt": '["a", "b c"]', "keyterms": '["old"]'}),
    ],
)
def test_keyterms_come_as_json_or_repeated_or_by_their_old_name(query):
    assert request(query).keyterms == ("a", "b c")


def test_keyterms_over_fifty_characters_are_left_out_and_over_a_hundred_items_refused():
    assert request(keyterms_prompt=json.dumps(["a" * 50, "b" * 51])).keyterms == ("a" * 50,)
    assert len(request(keyterms_prompt=json.dumps([f"t{i}" for i in range(100)])).keyterms) == 100

    error = refusal("/v3/ws?" + urlencode({"keyterms_prompt": json.dumps([f"t{i}" for i in range(101)])}))
    assert error.message == "User Input Validation Error: Invalid 'keyterms_prompt': Max 100 items"


def test_silences_are_clamped_not_refused():
    turns = request(min_turn_silence=1, max_turn_silence=99_999).turns

    assert (turns.min_turn_silence_ms, turns.max_turn_silence_ms) == (50, 10_000)


@pytest.mark.parametrize(
    ("query", "language"),
    [
        ("language=en", "en"),
        ("language=multi", "auto"),
        ("language_code=pt-BR", "pt-br"),
        ("language=en&language_code=fr", "fr"),
        ("language_code=fr&language_codes=" + quote('["de"]'), "de"),
        ("language_codes=" + quote('["multi"]'), "auto"),
        ("language_codes=" + quote('["de", "fr"]'), "auto"),
        ("language_codes=[]", ""),
    ],
)
def test_one_language_comes_out_of_the_three_ways_to_name_it(query, language):
    assert request(query).language == language


@pytest.mark.parametrize("query", ["whatever=1", "sample_rate=", "punctuate=x&format_text=&formatted_finals=7", "&&="])
def test_unknown_retired_and_empty_parameters_are_ignored(query):
    assert request(query) == request()


def test_the_last_of_two_values_counts():
    assert request("sample_rate=8000&sample_rate=44100").sample_rate == 44100


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("speaker_labels=true&max_speakers=2", WarningCode.SPEAKER_LABELS),
        ("redact_pii=True&redact_pii_sub=hash", WarningCode.REDACT_PII),
        ("webhook_url=https://example.com/secret", WarningCode.WEBHOOK_URL),
        ("llm_gateway=" + quote('{"model": "m"}'), WarningCode.LLM_GATEWAY),
        ("domain=medical-v1", WarningCode.DOMAIN),
        ("voice_focus=near-field&voice_focus_threshold=0.3", WarningCode.VOICE_FOCUS),
        ("noise_suppression_model=far-field&noise_suppression_threshold=1", WarningCode.VOICE_FOCUS),
        ("customer_support_audio_capture=1", WarningCode.CUSTOMER_SUPPORT_AUDIO_CAPTURE),
        ("_customer_support_audio_capture=true", WarningCode.CUSTOMER_SUPPORT_AUDIO_CAPTURE),
        ("mode=max_accuracy", WarningCode.MODE),
        ("continuous_partials=false", WarningCode.CONTINUOUS_PARTIALS),
        ("interruption_delay=500", WarningCode.INTERRUPTION_DELAY),
        ("acknowledge_silence=true", WarningCode.ACKNOWLEDGE_SILENCE),
        ("turn_left_pad_ms=200", WarningCode.TURN_LEFT_PAD_MS),
        ("prompt=p", WarningCode.PROMPT),
        ("agent_context=c", WarningCode.AGENT_CONTEXT),
        ("previous_context_n_turns=3", WarningCode.PREVIOUS_CONTEXT_N_TURNS),
        ("language_codes=" + quote('["de", "fr"]'), WarningCode.LANGUAGE_CODES),
    ],
)
def test_what_this_deployment_does_not_do_is_answered_with_one_warning(query, code):
    asked = request(query)

    assert codes(asked) == [code]
    assert f"'{code.name.lower()}' has no effect" in asked.warnings[0].message
    assert "secret" not in asked.warnings[0].message


def test_asking_for_what_happens_anyway_is_no_reason_to_warn():
    assert request("speaker_labels=false&redact_pii=0&mode=balanced&continuous_partials=1&previous_context_n_turns=0"
                   "&interruption_delay=0&acknowledge_silence=false&max_speakers=2").warnings == ()  # fmt: skip


def test_every_warning_code_can_be_provoked():
    provoked = test_what_this_deployment_does_not_do_is_answered_with_one_warning.pytestmark[0].args[1]

    assert {code for _, code in provoked} == set(WarningCode)


def test_redaction_comes_without_partial_turns_unless_they_are_asked_for():
    assert not request(redact_pii="true").turns.include_partial_turns
    assert request(redact_pii="true", include_partial_turns="true").turns.include_partial_turns


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("sample_rate=7999", "sample_rate must be at least 8,000 Hz"),
        ("sample_rate=96001", "Invalid 'sample_rate': Input should be less than or equal to 96000"),
        ("sample_rate=fast", "Invalid 'sample_rate': Input should be a valid integer"),
        ("encoding=flac", "'flac' is not a valid Encoding"),
        ("encoding=PCM_S16LE", "'PCM_S16LE' is not a valid Encoding"),
        (
            "encoding=opus&sample_rate=1",
            "Invalid 'encoding': Input should be 'pcm_s16le' or 'pcm_mulaw'. 'opus' is not offered by this deployment",
        ),
        ("encoding=ogg_opus", "Invalid 'encoding': Input should be"),
        ("encoding=aac", "Invalid 'encoding': Input should be"),
        ("vad_threshold=nan", "Invalid 'vad_threshold': Input should be a finite number"),
        ("vad_threshold=1.01", "Invalid 'vad_threshold': Input should be less than or equal to 1"),
        (
            "end_of_turn_confidence_threshold=-0.1",
            "Invalid 'end_of_turn_confidence_threshold': Input should be greater",
        ),
        ("min_turn_silence=soon", "Invalid 'min_turn_silence': Input should be a valid integer"),
        (
            "min_end_of_turn_silence_when_confident=x",
            "Invalid 'min_end_of_turn_silence_when_confident': Input should be a valid integer",
        ),
        ("format_turns=maybe", "Invalid 'format_turns': Input should be a valid boolean"),
        ("inactivity_timeout=4", "Invalid 'inactivity_timeout': Input should be greater than or equal to 5"),
        ("inactivity_timeout=3601", "Invalid 'inactivity_timeout': Input should be less than or equal to 3600"),
        ("keyterms=" + quote('["a"'), "Invalid 'keyterms': Invalid JSON array"),
        ("keyterms_prompt=" + quote('{"a": 1}'), "Invalid 'keyterms_prompt': Invalid JSON array"),
        ("keyterms_prompt=[1]", "Invalid 'keyterms_prompt': Input should be a valid string"),
        ("llm_gateway=x", "Invalid 'llm_gateway': Invalid JSON object"),
        ("llm_gateway=[]", "Invalid 'llm_gateway': Input should be a valid dictionary"),
        ("language_codes=" + quote('["xx"]'), "Invalid 'language_codes': Input should be a list of af, ar, ca"),
        ("language_codes=" + quote(json.dumps(["en"] * 11)), "Invalid 'language_codes': Max 10 items"),
        ("language_codes=" + quote('["multi", "en"]'), "Invalid 'language_codes': Input should be 'multi' alone"),
        ("language=e", "Invalid 'language': Input should be a language code"),
        ("prompt=" + "p" * 1751, "Invalid 'prompt': String should have at most 1750 characters"),
        ("agent_context=" + "p" * 1751, "Invalid 'agent_context': String should have at most 1750 characters"),
        ("domain=legal", "Invalid 'domain': Input should be 'medical-v1'"),
        ("voice_focus=mid-field", "Invalid 'voice_focus': Input should be 'near-field' or 'far-field'"),
        ("noise_suppression_model=x", "Invalid 'noise_suppression_model': Input should be 'near-field'"),
        ("mode=x", "Invalid 'mode': Input should be 'min_latency', 'balanced' or 'max_accuracy'"),
        ("max_speakers=11", "Invalid 'max_speakers': Input should be less than or equal to 10"),
    ],
)
def test_a_bad_value_is_refused_by_name_with_what_was_expected(query, message):
    error = refusal(f"/v3/ws?{query}")

    assert error.reason == "invalid_parameter"
    assert error.message.startswith(f"User Input Validation Error: {message}")


@pytest.mark.parametrize("path", ["/v3/ws/", "/v3", "/v2/realtime/ws", "", "v3/ws", "*"])
def test_another_path_is_refused(path):
    assert refusal(f"{path}?sample_rate=16000").message.endswith("Invalid path. Expected /v3/ws or /")


def test_the_size_of_a_request_is_bounded():
    assert refusal("/v3/ws?x=" + "a" * TARGET_BYTES_MAX).reason == "invalid_request"
    assert refusal("/v3/ws?" + "&".join(["x=1"] * (PARAMETERS_MAX + 1))).reason == "invalid_request"
    assert request("&".join(["x=1"] * PARAMETERS_MAX)) == request()


def test_nesting_without_end_is_contained():
    deep = "[" * 900 + "]" * 900

    assert codes(request("llm_gateway=" + quote('{"messages": ' + deep + "}"))) == [WarningCode.LLM_GATEWAY]
    assert refusal("/v3/ws?llm_gateway=" + "[" * 10_000).reason == "invalid_parameter"
    assert refusal("/v3/ws?keyterms_prompt=" + deep).reason == "invalid_parameter"


def test_utf_8_that_was_not_percent_encoded_is_still_read():
    raw = "/v3/ws?keyterms_prompt=Łódź".encode().decode("ascii", "surrogateescape")

    assert V3().request(raw).keyterms == ("Łódź",)


@given(any_text)
def test_no_target_does_anything_but_get_refused(target):
    for prefix in ("", "/v3/ws?"):
        outcome = request_or_error(prefix + target)
        if isinstance(outcome, SessionError):
            assert outcome.code is Code.INVALID_INPUT
            assert outcome.message.isprintable()
        else:
            assert "".join([*outcome.keyterms, outcome.language, outcome.speech_model or ""]).encode() is not None


NAMES = [*Query.model_fields, "encoding", "keyterms", "min_end_of_turn_silence_when_confident"]
VALUES = any_text | st.integers().map(str) | st.floats().map(str) | st.lists(st.text(), max_size=3).map(json.dumps)


@given(st.lists(st.tuples(st.sampled_from(NAMES), VALUES), max_size=6))
def test_no_value_of_a_known_parameter_does_anything_but_get_refused(parameters):
    outcome = request_or_error("/v3/ws?" + urlencode(parameters, errors="surrogatepass"))

    if isinstance(outcome, SessionError):
        assert outcome.code is Code.INVALID_INPUT
        assert outcome.message.isprintable()
    else:
        assert 8000 <= outcome.sample_rate <= 96000
        assert 50 <= outcome.turns.min_turn_silence_ms <= 10_000
        assert 0 <= outcome.turns.vad_threshold <= 1
        assert len(outcome.keyterms) <= 100


@given(
    st.booleans(),
    st.floats(0, 1),
    st.integers(50, 10_000),
    st.lists(st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=50), unique=True, max_size=20),
)
def test_what_is_said_is_what_is_understood(format_turns, threshold, silence_ms, keyterms):
    asked = request(
        format_turns=format_turns,
        end_of_turn_confidence_threshold=threshold,
        max_turn_silence=silence_ms,
        keyterms_prompt=json.dumps(keyterms),
    )

    assert asked.turns == TurnSettings(
        threshold,
        DEFAULTS.min_turn_silence_ms,
        silence_ms,
        DEFAULTS.vad_threshold,
        format_turns=format_turns,
        include_partial_turns=True,
    )
    assert asked.keyterms == tuple(keyterms)
