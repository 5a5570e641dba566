from collections.abc import Callable, Mapping

import pytest
import uvloop


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> Mapping[str, Callable[[], uvloop.Loop]]:
    """The edge runs on uvloop, whose transports differ from asyncio's in small ways."""
    return {"uvloop": uvloop.new_event_loop}
