"""Stacks to test with: real recognition, and recognition whose words can be counted one by one.

Both with the gateways choosing among the servers, and with the balancer in between.
"""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from e2e.support.installed_operator import Operator
from e2e.support.manifests import pool
from e2e.support.stack import Stack, deployed


@pytest.fixture(scope="module", params=["Gateway", "Nginx"])
def balancer(request: pytest.FixtureRequest) -> str:
    """Who picks the server of a session."""
    return str(request.param)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sphinx(operator: Operator, balancer: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """Yield a stack that hears speech."""
    folder = tmp_path_factory.mktemp("sphinx")
    async with deployed(operator, folder, engine="Sphinx", changes={"balancer": balancer}) as stack:
        yield stack


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scripted(operator: Operator, balancer: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """Yield a stack that reads its words out of the very samples, whose servers wait a second when they are stopped."""
    folder = tmp_path_factory.mktemp("scripted")
    changes = {"balancer": balancer, "pools": [pool(engine="Scripted", stopGraceSeconds=1)]}
    async with deployed(operator, folder, engine="Scripted", changes=changes) as stack:
        yield stack
