"""What gateways, probes and scrapes see of an engine that is overloaded, or has no process left."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import grpc
from grpc_health.v1 import health_pb2
from prometheus_client.metrics_core import GaugeMetricFamily, Metric

from streamstack_asr.engines.base import EngineCondition, EngineDescription
from streamstack_asr.engines.null.engine import NullEngine
from streamstack_common.contracts import asr_pb2
from support.asr_link import link


class MoodyEngine(NullEngine):
    """Is as the test says; knows its context once it has started."""

    def __init__(self) -> None:
        super().__init__(("en-default",))
        self._condition = EngineCondition.WELL
        self._started = False
        self._listeners: list[Callable[[], None]] = []

    @property
    def condition(self) -> EngineCondition:
        return self._condition

    def watch(self, listener: Callable[[], None]) -> None:
        self._listeners.append(listener)

    def become(self, condition: EngineCondition) -> None:
        self._condition = condition
        for listener in self._listeners:
            listener()

    def metrics(self, prefix: str) -> Iterator[Metric]:
        yield GaugeMetricFamily(f"{prefix}mood", "How it is.", value=7)

    def describe(self) -> EngineDescription:
        return replace(super().describe(), left_context_ms=5_600 if self._started else 0)

    async def start(self) -> None:
        self._started = True


async def health(address: str) -> Any:
    async with grpc.aio.insecure_channel(address) as channel:
        call = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        return (await call(health_pb2.HealthCheckRequest(), timeout=30)).status


async def ready(running: Any) -> tuple[int, str]:
    async with running.http() as http, http.get("/readyz") as response:
        return response.status, (await response.text()).strip()


async def test_an_overloaded_engine_keeps_its_sessions_takes_no_more_and_stays_ready(start_server: Any) -> None:
    engine = MoodyEngine()
    async with start_server(engine=engine) as running, link(running.address, running.metadata) as client:
        await client.open(1)
        await client.wait_reply(1, "opened")
        engine.become(EngineCondition.OVERLOADED)
        await client.wait_for(lambda: not client.statuses[-1].accepting)
        await client.open(2)
        refused = await client.wait_reply(2, "refused")
        assert (refused.reason, refused.message) == (
            asr_pb2.Refused.NOT_ACCEPTING,
            f"the engine {EngineCondition.OVERLOADED.value}",
        )
        await client.stream(1, bytes(10_240))
        await client.wait_reply(1, "hypothesis")
        assert (await ready(running))[0] == 200
        assert await health(running.address) == health_pb2.HealthCheckResponse.SERVING
        engine.become(EngineCondition.WELL)
        await client.wait_for(lambda: client.statuses[-1].accepting)
        await client.open(3)
        await client.wait_reply(3, "opened")


async def test_a_server_without_a_process_that_serves_is_not_ready_until_there_is_one(start_server: Any) -> None:
    engine = MoodyEngine()
    async with start_server(engine=engine) as running:
        engine.become(EngineCondition.DOWN)
        assert await ready(running) == (503, f"the engine {EngineCondition.DOWN.value}")
        assert await health(running.address) == health_pb2.HealthCheckResponse.NOT_SERVING
        engine.become(EngineCondition.WELL)
        assert (await ready(running))[0] == 200
        assert await health(running.address) == health_pb2.HealthCheckResponse.SERVING


async def test_what_the_engine_counts_is_among_the_servers_metrics(start_server: Any) -> None:
    async with start_server(engine=MoodyEngine()) as running, running.http() as http, http.get("/metrics") as response:
        assert "streamstack_asr_mood 7.0" in (await response.text()).splitlines()


async def test_a_link_older_than_the_engines_start_hears_of_its_context(start_server: Any) -> None:
    async with (
        start_server(engine=MoodyEngine(), warm=False) as running,
        link(running.address, running.metadata) as client,
    ):
        await client.wait_for(lambda: client.statuses)
        assert client.statuses[-1].left_context_ms == 0
        await running.server.warm_up()
        await client.wait_for(lambda: client.statuses[-1].accepting)
        assert client.statuses[-1].left_context_ms == 5_600
