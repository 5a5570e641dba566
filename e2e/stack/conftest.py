"""Stacks to test with: real recognition, and recognition whose words can be counted one by one."""

from collections.abc import AsyncIterator, Sequence

import pytest
import pytest_asyncio
from e2e.support.stack import Stack, deployed

from devcluster.cluster_state import ClusterFacts


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sphinx(
    cluster: ClusterFacts, images: Sequence[str], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Stack]:
    """Yield a stack that hears speech."""
    async with deployed(cluster, tmp_path_factory.mktemp("sphinx"), images=images, engine="sphinx") as stack:
        yield stack


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scripted(
    cluster: ClusterFacts, images: Sequence[str], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Stack]:
    """Yield a stack that reads its words out of the very samples, whose servers wait a second when they are stopped."""
    folder = tmp_path_factory.mktemp("scripted")
    async with deployed(cluster, folder, images=images, engine="scripted", asr_stop_grace_seconds=1) as stack:
        yield stack
