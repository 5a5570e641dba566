"""What a stack on one machine consists of."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamstack_cli import stack
from streamstack_cli.__main__ import main
from streamstack_cli.stack import OptionsError, RunFolder, Setting, StackOptions

FOLDER = RunFolder(
    credential_file=Path("/run/credential"),
    token_key_file=Path("/run/token-key"),
    license_file=Path("/run/license"),
    keys_file=Path("/run/keys"),
    state_dir=Path("/run/state"),
)
ANNOUNCED = {"asr": "127.0.0.1:5001", "license_proxy": "http://127.0.0.1:5002"}


def test_every_service_listens_on_loopback_on_ports_the_kernel_chooses() -> None:
    proxy = stack.license_proxy(StackOptions(), FOLDER, {})
    asr = stack.asr(StackOptions(), FOLDER, {})
    gateway = stack.gateway(StackOptions(), FOLDER, {}, ANNOUNCED)
    assert {spec.environment["HOST"] for spec in (proxy, asr, gateway)} == {"127.0.0.1"}
    assert proxy.environment["HTTP_PORT"] == "0"
    assert (asr.environment["SERVER_PORT"], asr.environment["INTERNAL_PORT"]) == ("0", "0")
    assert (gateway.environment["AAI_WSS_PORT"], gateway.environment["INTERNAL_PORT"]) == ("0", "0")


def test_the_gateway_is_told_where_the_others_are() -> None:
    environment = stack.gateway(StackOptions(gateway_port=8080), FOLDER, {}, ANNOUNCED).environment
    assert environment["AAI_WSS_PORT"] == "8080"
    assert environment["ASR_POOLS"] == "english/en-default=127.0.0.1:5001"
    assert environment["AAI_LICENSE_AND_USAGE_PROXY_ENDPOINT"] == "http://127.0.0.1:5002"


def test_an_option_that_was_not_given_is_left_to_the_service() -> None:
    gateway = stack.gateway(StackOptions(), FOLDER, {}, ANNOUNCED).environment
    assert not gateway.keys() & {"CAPACITY", "MAX_SESSIONS", "MAX_SESSION_SECONDS", "ASR_WAIT_SECONDS"}
    given_ = stack.gateway(StackOptions(max_sessions=3, asr_wait_seconds=0.5), FOLDER, {}, ANNOUNCED).environment
    assert (given_["MAX_SESSIONS"], given_["ASR_WAIT_SECONDS"]) == ("3", "0.5")


@given(st.sampled_from(["HOST", "PORT", "ENGINE", "MODELS", "LOGGING_LEVEL", "SSL_CERT_PATH", "REVISION"]), st.text())
def test_settings_that_lie_around_in_the_environment_do_not_reach_a_service(name: str, value: str) -> None:
    spec = stack.asr(StackOptions(), FOLDER, {name: value, name.lower(): value, "PATH": "/bin"})
    assert spec.environment == stack.asr(StackOptions(), FOLDER, {"PATH": "/bin"}).environment


def test_what_interpreters_and_libraries_need_is_inherited() -> None:
    environ = {"PATH": "/bin", "PYTHONPATH": "x", "LC_ALL": "C", "CUDA_VISIBLE_DEVICES": "0", "EDITOR": "ed"}
    assert stack.inherited_environment(environ) == {name: environ[name] for name in environ.keys() - {"EDITOR"}}


def test_any_setting_can_be_handed_to_one_service() -> None:
    options = StackOptions(settings=(Setting.parse("asr.ENGINE_WORKERS=2"), Setting.parse("gateway.A=b=c")))
    assert stack.asr(options, FOLDER, {}).environment["ENGINE_WORKERS"] == "2"
    assert stack.gateway(options, FOLDER, {}, ANNOUNCED).environment["A"] == "b=c"
    assert "ENGINE_WORKERS" not in stack.license_proxy(options, FOLDER, {}).environment


@pytest.mark.parametrize("text", ["", "asr", "asr.X", "X=1", "nginx.X=1", "asr.=1", "asr.A B=1"])
def test_a_setting_of_another_shape_is_refused(text: str) -> None:
    with pytest.raises(OptionsError, match=r"expected SERVICE\.NAME=VALUE"):
        Setting.parse(text)


def test_a_model_is_for_engines_that_read_one() -> None:
    options = StackOptions(engine="nemotron", model=Path("/models/a"))
    assert stack.asr(options, FOLDER, {}).environment["MODEL_DIR"] == "/models/a"
    with pytest.raises(OptionsError, match="engine sphinx reads no model folder; engines that do: nemotron"):
        StackOptions(engine="sphinx", model=Path("/models/a"))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["up", "--model", "x"], "--model: engine sphinx reads no model folder"),
        (["up", "--gateway-port", "65536"], "expected a port from 0 to 65535"),
        (["up", "--max-sessions", "0"], "expected at least 1"),
        (["up", "--stop-grace-seconds", "nan"], "expected a number of seconds above 0"),
        (["up", "--set", "HOST=x"], "expected SERVICE.NAME=VALUE"),
        (["up", "--log-level", "loud"], "invalid choice"),
        ([], "required: COMMAND"),
    ],
)
def test_options_that_cannot_work_are_refused_before_anything_starts(
    arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    assert expected in capsys.readouterr().err
