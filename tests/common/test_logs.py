import json
import logging
from collections.abc import Iterator

import pytest

from streamstack_common import logs


@pytest.fixture(autouse=True)
def root_logger_restored() -> Iterator[None]:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = before, level


def test_plain_lines_tell_level_logger_and_message(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(service="gateway", level="info", structured=False)
    logging.getLogger("a.b").info("ready in %d ms", 5)
    assert capsys.readouterr().err.endswith(" INFO a.b: ready in 5 ms\n")


def test_structured_lines_are_one_object_each_even_with_a_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(service="gateway", level="INFO", structured=True)
    log = logging.getLogger("a.b")
    log.info("two\nlines", extra={"session_id": "s-1"})
    try:
        int("broken")
    except ValueError:
        log.exception("failed")
    first, second = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert (first["level"], first["logger"], first["service"]) == ("INFO", "a.b", "gateway")
    assert (first["message"], first["session_id"]) == ("two\nlines", "s-1")
    assert "time" in first
    assert "ValueError: invalid literal" in second["exc_info"]


def test_the_level_is_kept_and_requests_are_not_logged(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(service="gateway", level="warning", structured=False)
    logging.getLogger("a").info("quiet")
    logging.getLogger("aiohttp.access").info("GET /metrics")
    assert capsys.readouterr().err == ""
    logs.configure(service="gateway", level="info", structured=False)
    logging.getLogger("aiohttp.access").info("GET /metrics")
    assert capsys.readouterr().err == ""


def test_configuring_twice_does_not_double_lines(capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        logs.configure(service="gateway", level="info", structured=False)
    logging.getLogger("a").info("once")
    assert capsys.readouterr().err.count("once") == 1
