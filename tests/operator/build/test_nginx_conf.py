"""The balancer's configuration: routes and limits by the spec, and a real nginx that takes it and carries sessions."""

import asyncio
import re
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from hypothesis import given, settings

from streamstack_common.contracts import rpc
from streamstack_gateway.models import KNOWN_MODELS
from streamstack_operator.build.nginx_conf import MOST_CONNECTIONS, configuration, default_pool, limits, routes
from streamstack_operator.facts import Stack
from streamstack_operator.model.spec import StreamingStackSpec
from support.asr_link import LinkClient
from support.dns import dns_server
from support.fake_asr import FakeAsr
from support.nginx import BINARY, nginx_process
from support.stack_specs import stack, stacks

NGINX_DEFAULT_STREAMS = 128


def balanced(*pools: dict[str, Any], **fields: Any) -> Stack:
    known = {"license": {"secretName": "license"}, "pools": list(pools) or [{"name": "english"}], "balancer": "Nginx"}
    return stack(StreamingStackSpec.model_validate(known | fields))


def map_of(made: Stack) -> Iterator[tuple[str, str]]:
    """The lines of the map in order: a pattern and a host."""
    lines = configuration(made).partition("map $http_x_model_version $servers {\n")[2].partition("    }")[0]
    for line in lines.splitlines():
        pattern, server = line.strip().removesuffix(";").split()
        yield pattern, server


def server_of(made: Stack, version: str) -> str:
    """Where nginx sends a version: patterns in order, then the default."""
    found = dict(map_of(made))
    for pattern, server in found.items():
        if pattern.startswith("~") and re.search(pattern[1:], version):
            return server
    return found["default"]


def directive(made: Stack, name: str) -> int:
    (found,) = re.findall(rf"^ *{name} (\d+);$", configuration(made), re.MULTILINE)
    return int(found)


# ------------------------------------------------------------------------------------------------------- routes


@settings(max_examples=40)
@given(stacks())
def test_every_pools_model_goes_to_its_own_pool_and_the_unknown_to_the_default_one(made: Stack) -> None:
    def service(pool: str) -> str:
        return f"{made.name}-asr-{pool}.{made.namespace}.svc.{made.spec.cluster_domain}"

    for pool in made.spec.pools:
        assert server_of(made, pool.routing_name) == service(pool.name)
    for unknown in ("", "u4-large", "en-default-2", "xen-default"):
        assert server_of(made, unknown) == service(default_pool(made).name)


def test_every_name_that_gateways_know_goes_where_its_routing_name_does() -> None:
    made = balanced({"name": "english"}, {"name": "multilingual"}, {"name": "pro"})
    for name, routing_name in KNOWN_MODELS.items():
        assert server_of(made, name) == server_of(made, routing_name), name
    assert server_of(made, "u3-of-tomorrow") == server_of(made, "u3-pro")


def test_names_are_patterns_of_themselves_alone() -> None:
    made = balanced({"name": "english"}, {"name": "dot", "model": "own.model"}, {"name": "big", "model": "OWN.MODEL"})
    assert "-asr-dot." in server_of(made, "own.model")
    assert "-asr-big." in server_of(made, "OWN.MODEL")
    assert "-asr-english." in server_of(made, "ownXmodel")


@pytest.mark.parametrize(
    ("pools", "default", "expected"),
    [
        (["multilingual", "english"], None, "english"),
        (["multilingual", "pro"], None, "multilingual"),
        (["english", "pro"], "u3-rt-pro", "pro"),
        (["english", "multilingual"], "ml-default", "multilingual"),
    ],
)
def test_the_default_pool_is_the_one_that_gateways_choose(pools: list[str], default: str | None, expected: str) -> None:
    made = balanced(*({"name": name} for name in pools), gateway={"modelDefault": default} if default else {})
    assert default_pool(made).name == expected


def test_a_pool_whose_model_has_a_public_name_answers_to_all_of_its_names() -> None:
    made = balanced({"name": "english"}, {"name": "own", "model": "universal-3-6"})
    assert {route.pool.name for route in routes(made.spec.pools) if route.matches("u3-rt-pro")} == {"own"}


# ------------------------------------------------------------------------------------------------------- limits


def test_limits_come_from_what_the_gateways_can_send() -> None:
    made = balanced(gateway={"replicas": 3, "capacity": 100}, drain={"maxDrainingRevisions": 1})
    # 400 sessions a gateway, each with two streams while it moves; three gateways, and as many that drain.
    assert directive(made, "http2_max_concurrent_streams") == 800
    assert directive(made, "worker_connections") == 3 * 2 * 801 + 64
    assert directive(made, "keepalive_requests") == 800 * 36_000


@settings(max_examples=40)
@given(stacks())
def test_limits_are_never_below_nginxs_own_nor_above_what_it_can_hold(made: Stack) -> None:
    found = limits(made)
    gateway = made.spec.gateway
    assert found.streams >= max(NGINX_DEFAULT_STREAMS, gateway.limits.max_sessions or 4 * gateway.capacity)
    assert min(found.streams, MOST_CONNECTIONS) <= found.connections <= MOST_CONNECTIONS
    assert directive(made, "worker_rlimit_nofile") > found.connections


@pytest.mark.parametrize(
    ("resources", "workers"),
    [({"requests": {"cpu": "500m"}}, 1), ({"requests": {"cpu": "1500m"}}, 2), ({"limits": {"cpu": 3}}, 3), ({}, 1)],
)
def test_nginx_has_as_many_workers_as_its_container_has_cores(resources: dict[str, Any], workers: int) -> None:
    assert directive(balanced(nginx={"resources": resources}), "worker_processes") == workers


# ---------------------------------------------------------------------------------------------------- real nginx


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("nginx")


def placed(text: str, folder: Path) -> str:
    """The configuration with its files in a folder of the test's own."""
    assert text.count(" /tmp/") == 6
    return text.replace(" /tmp/", f" {folder}/")


@settings(max_examples=40, deadline=None)
@given(stacks())
def test_nginx_takes_the_configuration_of_every_spec_without_a_warning(folder: Path, made: Stack) -> None:
    text = configuration(made).replace("kube-dns.kube-system.svc", "10.96.0.10")  # that name is there in clusters alone
    (folder / "nginx.conf").write_text(placed(text, folder))
    command = [BINARY, "-t", "-q", "-p", str(folder), "-e", "stderr", "-c", str(folder / "nginx.conf")]
    tested = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (tested.returncode, tested.stderr) == (0, "")


class Balancer:
    """A client of a running balancer."""

    def __init__(self, channel: grpc.aio.Channel, health: str) -> None:
        self.channel = channel
        self.health = health

    @asynccontextmanager
    async def link(self, version: str | None) -> AsyncIterator[LinkClient]:
        metadata = () if version is None else ((rpc.MODEL_VERSION, version),)
        client = LinkClient(self.channel, metadata)
        client.start()
        try:
            yield client
        finally:
            await client.close()


@asynccontextmanager
async def running(made: Stack, servers: dict[str, FakeAsr], folder: Path) -> AsyncIterator[Balancer]:
    """The stack's balancer in front of servers by pool: at one port, each at an address of its own, as pods are."""
    async with AsyncExitStack() as stop:
        port = 0
        names = {}
        for number, (pool, server) in enumerate(servers.items(), start=2):
            server.address = f"127.0.0.{number}:{port}"
            await stop.enter_async_context(server)
            port = int(server.address.rpartition(":")[2])
            names[f"demo-asr-{pool}.calls.svc.cluster.local"] = f"127.0.0.{number}"
        nginx = made.spec.nginx.model_copy(update={"resolver": await stop.enter_async_context(dns_server(names))})
        text = configuration(replace(made, spec=made.spec.model_copy(update={"nginx": nginx})))
        front, health = (socket.create_server(("127.0.0.1", 0)) for _ in range(2))
        addresses = [f"127.0.0.1:{listener.getsockname()[1]}" for listener in (front, health)]
        for old, new in (
            ("listen 50051 ", f"listen {addresses[0]} "),
            ("listen 8081;", f"listen {addresses[1]};"),
            ("$servers:50051;", f"$servers:{port};"),
        ):
            assert text.count(old) == 1
            text = text.replace(old, new)
        await stop.enter_async_context(nginx_process(folder, placed(text, folder), [front, health]))
        channel = await stop.enter_async_context(grpc.aio.insecure_channel(addresses[0]))
        yield Balancer(channel, addresses[1])


@pytest.fixture
async def servers() -> dict[str, FakeAsr]:
    english, multilingual = FakeAsr(name="english"), FakeAsr(name="multilingual")
    english.slots = multilingual.slots = 500
    return {"english": english, "multilingual": multilingual}


@pytest.fixture
async def balancer(servers: dict[str, FakeAsr], tmp_path: Path) -> AsyncIterator[Balancer]:
    """In front of two pools; the third has no server, and no name in DNS."""
    made = balanced({"name": "english"}, {"name": "multilingual"}, {"name": "pro"})
    async with running(made, servers, tmp_path) as found:
        yield found


@pytest.mark.parametrize(
    ("version", "pool"),
    [
        ("en-default", "english"),
        ("universal-streaming-english", "english"),
        ("ml-default", "multilingual"),
        ("universal-streaming-multilingual", "multilingual"),
        ("u4-large", "english"),
        ("", "english"),
        (None, "english"),
    ],
)
async def test_nginx_routes_on_the_model_version_and_sends_what_is_unknown_to_the_default(
    balancer: Balancer, version: str | None, pool: str
) -> None:
    async with balancer.link(version) as link:
        await link.open(1)
        assert (await link.wait_reply(1, "opened")).instance_id == pool


async def test_a_model_without_servers_is_unavailable_at_once_and_says_so(balancer: Balancer) -> None:
    call = balancer.channel.unary_unary(rpc.DESCRIBE)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call(b"", metadata=((rpc.MODEL_VERSION, "u3-rt-pro"),), timeout=30)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert caught.value.details() == "demo-asr-pro.calls.svc.cluster.local does not answer"


async def test_one_connection_carries_as_many_sessions_as_a_gateway_may_have_and_as_many_that_move(
    balancer: Balancer, servers: dict[str, FakeAsr]
) -> None:
    streams = 2 * NGINX_DEFAULT_STREAMS
    assert limits(balanced()).streams == streams
    async with AsyncExitStack() as open_links:
        links = [await open_links.enter_async_context(balancer.link("en-default")) for _ in range(streams)]
        async with asyncio.timeout(60):
            for number, link in enumerate(links):
                await link.open(number)
            for number, link in enumerate(links):
                await link.wait_reply(number, "opened")
        assert len(servers["english"].live_links) == streams


async def test_the_health_endpoint_speaks_http_1_as_probes_do(balancer: Balancer) -> None:
    host, _, port = balancer.health.partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"GET /nginx_health HTTP/1.1\r\nHost: probe\r\nConnection: close\r\n\r\n")
    answer = await reader.read()
    writer.close()
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.endswith(b"OK\n")
