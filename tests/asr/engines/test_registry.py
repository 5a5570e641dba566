import importlib.util
import sys

import pytest

from streamstack_asr.engines import registry
from streamstack_asr.engines.base import EngineError
from streamstack_asr.engines.options import EngineOptions


def test_an_unknown_engine_is_refused_with_the_known_names() -> None:
    with pytest.raises(EngineError, match="unknown engine 'whisper': expected one of nemotron, null, scripted, sphinx"):
        registry.create("whisper", EngineOptions(models=("m",)))


def test_an_engine_that_is_not_installed_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "streamstack_asr.engines.null", None)
    with pytest.raises(EngineError, match=r"engine 'null' is not installed here .* extra 'asr'"):
        registry.create("null", EngineOptions(models=("m",)))


def test_an_engine_knows_the_models_it_was_made_for() -> None:
    engine = registry.create("scripted", EngineOptions(models=("a", "b")))
    assert (engine.describe().engine, engine.describe().models) == ("scripted", ("a", "b"))


def test_an_engine_whose_libraries_are_in_another_image_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(EngineError, match=r"engine 'nemotron' is not installed here .* extra 'nemotron'"):
        registry.create("nemotron", EngineOptions(models=("a",)))
