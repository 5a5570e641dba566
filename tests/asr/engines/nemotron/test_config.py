import pytest

from streamstack_asr.engines.base import EngineError
from streamstack_asr.engines.nemotron.config import WorkerConfig, chunk_ms_of, lookaheads
from streamstack_asr.engines.nemotron.facts import read_facts
from support.fake_fleet import TINY

FACTS = read_facts(TINY)
NAMES = ("en-default", "en-fast")


def test_without_a_chunk_the_models_own_is_served() -> None:
    assert lookaheads(" ", NAMES, FACTS) == dict.fromkeys(NAMES, FACTS.default_lookahead)


def test_one_chunk_is_for_all_names() -> None:
    assert lookaheads("560", NAMES, FACTS) == {"en-default": 6, "en-fast": 6}


def test_each_name_can_have_its_own_and_the_rest_the_models() -> None:
    assert lookaheads("en-fast=160", NAMES, FACTS) == {"en-default": FACTS.default_lookahead, "en-fast": 1}
    assert lookaheads("en-fast = 80, en-default=560", NAMES, FACTS) == {"en-default": 6, "en-fast": 0}


@pytest.mark.parametrize(
    ("chunk_ms", "message"),
    [
        ("100", "this model's steps are 80, 160, 320, 560 ms"),
        ("fast", "this model's steps are"),
        ("en-fast=-1", "this model's steps are"),
        ("other=160", "expected a number of ms, or NAME=MS with a name of en-default, en-fast"),
        ("160,560", "expected a number of ms, or NAME=MS"),
    ],
)
def test_a_chunk_that_cannot_be_is_named_with_what_was_expected(chunk_ms: str, message: str) -> None:
    with pytest.raises(EngineError, match=message):
        lookaheads(chunk_ms, NAMES, FACTS)


def test_a_chunk_is_a_frame_more_than_its_lookahead() -> None:
    assert [chunk_ms_of(lookahead) for lookahead in (0, 6)] == [80, 560]


def test_what_a_worker_is_told_survives_the_wire() -> None:
    config = WorkerConfig("/a folder", "cuda", "fp16", 40, {"en-default": 6}, threads=2)
    assert WorkerConfig.decode(config.encode()) == config
