import pytest
from pydantic import AliasChoices, Field

from streamstack_common.settings import ServiceSettings, load, refuse_start


class Example(ServiceSettings):
    wss_port: int = Field(
        8080, ge=0, le=65535, validation_alias=AliasChoices("wss_port", "AAI_WSS_PORT"), description="port"
    )


@pytest.fixture(autouse=True)
def credential_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMSTACK_CREDENTIAL_FILE", "/run/credential")


def refusal(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    with pytest.raises(SystemExit) as caught:
        load(Example, list(argv))
    assert caught.value.code == 2
    return capsys.readouterr().err


def test_defaults_hold_where_nothing_is_said() -> None:
    settings = load(Example, [])
    assert (settings.wss_port, settings.logging_level, settings.use_structured_logging) == (8080, "INFO", False)
    assert settings.credential_file == "/run/credential"


@pytest.mark.parametrize("name", ["AAI_WSS_PORT", "aai_wss_port", "WSS_PORT"])
def test_every_alias_is_an_environment_variable(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "9")
    assert load(Example, []).wss_port == 9


def test_an_empty_environment_variable_is_one_that_was_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AAI_WSS_PORT", "")
    assert load(Example, []).wss_port == 8080


def test_a_flag_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AAI_WSS_PORT", "9")
    assert load(Example, ["--wss-port", "10"]).wss_port == 10


@pytest.mark.parametrize("word", ["False", "false", "0", "no", "off"])
def test_the_seeds_spelling_of_a_switch_is_understood(monkeypatch: pytest.MonkeyPatch, word: str) -> None:
    monkeypatch.setenv("AAI_USE_STRUCTURED_LOGGING", word)
    assert load(Example, []).use_structured_logging is False
    assert load(Example, ["--use-structured-logging"]).use_structured_logging is True


@pytest.mark.parametrize("name", ["LOGGING_LEVEL", "AAI_LOG_LEVEL"])
def test_logging_levels_come_in_any_case(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "debug")
    assert load(Example, []).logging_level == "debug"


def test_unknown_environment_variables_are_none_of_our_business(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WSS_PORTS", "nonsense")
    assert load(Example, []).wss_port == 8080


def test_a_missing_setting_is_named_by_flag_and_variable(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("STREAMSTACK_CREDENTIAL_FILE")
    expected = "configuration: --credential-file / STREAMSTACK_CREDENTIAL_FILE: Field required\n"
    assert refusal(capsys) == expected


def test_every_bad_value_is_named_at_once_and_none_repeated(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AAI_WSS_PORT", "s3cret")
    said = refusal(capsys, "--logging-level", "s3cret")
    assert "--wss-port / AAI_WSS_PORT: Input should be a valid integer" in said
    assert "--logging-level / LOGGING_LEVEL / AAI_LOG_LEVEL: " in said
    assert "s3cret" not in said


def test_a_value_out_of_range_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert "less than or equal to 65535" in refusal(capsys, "--wss-port", "65536")


def test_an_unknown_flag_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert "--nope" in refusal(capsys, "--nope", "1")


def test_settings_do_not_change_after_start() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load(Example, []).wss_port = 1  # type: ignore[misc]


def test_refusing_to_start_says_each_reason(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        refuse_start(["one", "two"])
    assert caught.value.code == 2
    assert capsys.readouterr().err == "configuration: one\nconfiguration: two\n"
