"""A stack that many tests look at and change: each of them leaves it as Ready as it found it."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from e2e.support.installed_operator import Operator
from e2e.support.stack import Stack, deployed


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def stack(operator: Operator, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """Yield a stack whose words can be counted one by one."""
    async with deployed(operator, tmp_path_factory.mktemp("stack"), engine="Scripted") as it:
        yield it
