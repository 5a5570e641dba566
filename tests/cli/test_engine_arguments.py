"""What can be said of an engine's choice before a server is started."""

import argparse
import importlib.util
from pathlib import Path

import pytest

from streamstack_cli import engine_arguments, stack
from streamstack_cli.__main__ import main
from streamstack_cli.stack import OptionsError, RunFolder, Setting, StackOptions

FOLDER = RunFolder(Path("/c"), Path("/t"), Path("/l"), Path("/k"), Path("/s"))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"")
    return folder


@pytest.fixture
def _torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: object())


def parsed(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    engine_arguments.add(parser)
    parser.add_argument("--ready-timeout-seconds", type=float)
    return parser.parse_args(arguments)


@pytest.mark.usefixtures("_torch")
def test_a_model_folder_a_name_in_the_store_or_an_archive_will_do(model: Path) -> None:
    engine_arguments.check(StackOptions(engine="nemotron", model=model))
    engine_arguments.check(StackOptions(engine="nemotron", model=Path("owner/model-0.6b@v1")))
    archive = Setting.parse("asr.MODEL_ARCHIVE=https://models.example/a.tar")
    engine_arguments.check(StackOptions(engine="nemotron", settings=(archive,)))


@pytest.mark.usefixtures("_torch")
def test_what_is_no_model_is_refused(model: Path, tmp_path: Path) -> None:
    cases = (
        (None, "needs a folder with a model's weights"),
        (tmp_path / "nowhere", "is no folder: expected one with a model's weights, or OWNER/MODEL"),
        (model / "config.json", "is no folder"),
        (tmp_path, r"holds no config\.json and no \*\.safetensors: expected a model's folder"),
    )
    for path, expected in cases:
        with pytest.raises(OptionsError, match=f"--model: .*{expected}"):
            engine_arguments.check(StackOptions(engine="nemotron", model=path))
    (model / "model.safetensors").unlink()
    with pytest.raises(OptionsError, match=r"holds no \*\.safetensors: expected"):
        engine_arguments.check(StackOptions(engine="nemotron", model=model))


def test_without_torch_it_is_told_how_to_get_it(monkeypatch: pytest.MonkeyPatch, model: Path) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(OptionsError, match=r"nemotron is not installed here .no module torch.: `make nemotron`"):
        engine_arguments.check(StackOptions(engine="nemotron", model=model))
    engine_arguments.check(StackOptions(engine="sphinx"))


def test_a_relative_folder_is_found_wherever_the_server_starts(monkeypatch: pytest.MonkeyPatch, model: Path) -> None:
    monkeypatch.chdir(model.parent)
    assert parsed("--model", "model").model == model
    assert parsed("--model", "owner/model").model == Path("owner/model")


def test_what_was_chosen_reaches_the_server_under_its_names(model: Path) -> None:
    options = StackOptions(
        engine="nemotron", model=model, device="cpu", precision="fp32", chunk_ms=560, calibration=Path("/c.json")
    )
    environment = stack.asr(options, FOLDER, {}).environment
    chosen = {"MODEL_DIR": str(model), "DEVICE": "cpu", "PRECISION": "fp32", "CHUNK_MS": "560"}
    assert environment.items() >= {**chosen, "CALIBRATION_FILE": "/c.json"}.items()
    assert "MAX_OPEN_STREAMS" not in environment
    plain = stack.asr(StackOptions(engine="null"), FOLDER, {}).environment
    assert not plain.keys() & {*chosen, "CALIBRATION_FILE", "MAX_OPEN_STREAMS"}


def test_a_calibration_decides_where_a_rule_of_thumb_would() -> None:
    assert "MAX_OPEN_STREAMS" in stack.asr(StackOptions(engine="sphinx"), FOLDER, {}).environment
    calibrated = StackOptions(engine="sphinx", calibration=Path("/c.json"))
    assert "MAX_OPEN_STREAMS" not in stack.asr(calibrated, FOLDER, {}).environment


@pytest.mark.parametrize("engine", ["null", "sphinx"])
@pytest.mark.parametrize("choice", [{"device": "cpu"}, {"precision": "bf16"}, {"chunk_ms": 80}])
def test_choices_of_a_model_are_for_engines_that_have_one(engine: str, choice: dict[str, str]) -> None:
    flag = next(iter(choice)).replace("_", "-")
    with pytest.raises(
        OptionsError, match=f"--{flag}: engine {engine} has no such choice; engines that have: nemotron"
    ):
        StackOptions(engine=engine, **choice)  # type: ignore[arg-type]


def test_a_model_gets_minutes_to_become_ready_unless_told_otherwise() -> None:
    quick = engine_arguments.ready_seconds(parsed("--engine", "null"))
    assert engine_arguments.ready_seconds(parsed("--engine", "nemotron")) > quick
    assert engine_arguments.ready_seconds(parsed("--engine", "nemotron", "--ready-timeout-seconds", "3")) == 3


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--device", "tpu"], "invalid choice: 'tpu'"),
        (["--precision", "int8"], "invalid choice: 'int8'"),
        (["--chunk-ms", "0"], "expected at least 1"),
        (["--engine", "nemotron"], "--model: engine nemotron needs a folder"),
    ],
)
def test_up_refuses_what_cannot_work_before_anything_starts(
    arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["up", *arguments])
    assert expected in capsys.readouterr().err
