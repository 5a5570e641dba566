"""The balancer's own configuration, in front of real servers, behind Docker's DNS."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import grpc
import pytest

from streamstack_common.contracts import asr_pb2, rpc
from streamstack_gateway.models import ENGLISH, KNOWN_MODELS, MULTILINGUAL, PRO
from support.asr_link import LinkClient
from support.service import TOKEN

pytestmark = pytest.mark.timeout(900)  # the first test waits for the images to be built

AUTHORIZATION = (rpc.AUTHORIZATION, f"Bearer {TOKEN}")
NGINX_DEFAULT_STREAMS = 128


def routed(version: str | None) -> tuple[tuple[str, str], ...]:
    return (AUTHORIZATION,) if version is None else (AUTHORIZATION, (rpc.MODEL_VERSION, version))


class Balancer:
    """A client of the balancer."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.channel = channel
        self._describe = channel.unary_unary(
            rpc.DESCRIBE,
            request_serializer=asr_pb2.DescribeRequest.SerializeToString,
            response_deserializer=asr_pb2.Description.FromString,
        )

    async def models(self, version: str | None) -> list[str]:
        """Models of the server that a version is routed to. Raises grpc.aio.AioRpcError."""
        description = await self._describe(asr_pb2.DescribeRequest(), metadata=routed(version), timeout=30)
        return list(description.models)


@pytest.fixture(scope="module")
def endpoint(runner: Any, network: str) -> str:
    """A balancer before an English and a multilingual server; there is no pro server."""

    def server(alias: str, model: str) -> Any:
        return runner.asr(
            *("--network", network, "--network-alias", alias), ENGINE="null", MODELS=model, MAX_OPEN_STREAMS="500"
        )

    balancer = runner.balancer("--network", network, "--publish", "127.0.0.1::80")
    servers = server("streaming-asr-english", ENGLISH), server("streaming-asr-multilang", MULTILINGUAL)
    for container in (balancer, *servers):
        container.until_health("healthy")
    found: str = balancer.endpoint(80)
    return found


@pytest.fixture
async def balancer(endpoint: str) -> AsyncIterator[Balancer]:
    async with grpc.aio.insecure_channel(endpoint) as channel:
        yield Balancer(channel)


def names(model: str) -> list[str]:
    return [name for name, routing_name in KNOWN_MODELS.items() if routing_name == model]


@pytest.mark.parametrize("model", [ENGLISH, MULTILINGUAL])
async def test_every_name_of_a_model_reaches_its_servers(balancer: Balancer, model: str) -> None:
    for name in names(model):
        assert await balancer.models(name) == [model], name


async def test_every_name_of_a_model_without_servers_is_unavailable_and_says_which(balancer: Balancer) -> None:
    for name in names(PRO):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await balancer.models(name)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        assert caught.value.details() == "streaming-asr-u3pro does not answer"


@pytest.mark.parametrize("version", ["u4-large", "", None])
async def test_what_is_unknown_or_absent_goes_to_english(balancer: Balancer, version: str | None) -> None:
    assert await balancer.models(version) == [ENGLISH]


async def test_no_model_answers_for_an_unknown_one(balancer: Balancer) -> None:
    link = LinkClient(balancer.channel, routed("u4-large"))
    link.start()
    try:
        await link.open(1, model="u4-large")
        refused = await link.wait_reply(1, "refused")
        assert refused.reason == asr_pb2.Refused.UNKNOWN_MODEL
        assert "u4-large" in refused.message
    finally:
        await link.close()


async def test_a_server_that_comes_later_is_found(balancer: Balancer, runner: Any, network: str) -> None:
    container = runner.asr(*("--network", network, "--network-alias", "streaming-asr-u3pro"), ENGINE="null", MODELS=PRO)
    container.until_health("healthy")
    try:
        async with asyncio.timeout(60):
            while True:  # nginx keeps "no such name" for as long as any answer, five seconds
                try:
                    assert await balancer.models(PRO) == [PRO]
                    break
                except grpc.aio.AioRpcError as error:
                    assert error.code() is grpc.StatusCode.UNAVAILABLE  # noqa: PT017 - until the deadline above
    finally:
        container.signal("KILL")
        container.wait()


async def test_one_connection_carries_more_sessions_than_nginx_lets_it_by_default(balancer: Balancer) -> None:
    links = [LinkClient(balancer.channel, routed(ENGLISH)) for _ in range(NGINX_DEFAULT_STREAMS + 72)]
    async with AsyncExitStack() as open_links:
        for link in links:
            link.start()
            open_links.push_async_callback(link.close)
        async with asyncio.timeout(60):
            for number, link in enumerate(links):
                await link.open(number)
            for number, link in enumerate(links):
                await link.wait_reply(number, "opened")


async def test_a_refused_credential_comes_through_as_it_is(balancer: Balancer) -> None:
    call = balancer.channel.unary_unary(rpc.DESCRIBE)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call(b"", metadata=((rpc.AUTHORIZATION, "Bearer wrong"), (rpc.MODEL_VERSION, ENGLISH)), timeout=30)
    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
