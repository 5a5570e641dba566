"""What the license limits, in real gateways: sessions of the whole stack, models, and admission when it fails."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from streamstack_gateway.license.share import share
from support.edge import ended, receive
from support.gateway_process import GatewayProcess, gateway_process
from support.license_process import LicenseProcess, license_process
from support.own_hosts import is_possible, write_hosts
from support.signer import Signer

NOWHERE = "english/en-default=127.0.0.1:9"
NAME = "gateways.test"
LIMIT = 10
GATEWAYS = 3


@dataclass
class Licensed:
    """A license proxy whose license a test replaces."""

    signer: Signer
    file: Path
    proxy: LicenseProcess

    def replace(self, **claims: Any) -> None:
        self.file.write_bytes(token(self.signer, **claims))


def token(signer: Signer, **claims: Any) -> bytes:
    now = int(time.time())
    good = {"nbf": now - 100, "exp": now + 1000, "billing": "flat", "models": ["*"], "max_sessions": LIMIT}
    return signer.token(**{**good, **claims})


@asynccontextmanager
async def licensed(folder: Path, **claims: Any) -> AsyncIterator[Licensed]:
    signer, license_file, keys_file = Signer(), folder / "license.jwt", folder / "keys.json"
    keys_file.write_bytes(signer.jwks())
    license_file.write_bytes(token(signer, **claims))
    async with license_process(folder, license_file=license_file, keys_file=keys_file) as proxy:
        yield Licensed(signer, license_file, proxy)


@asynccontextmanager
async def gateways(
    folder: Path, proxy: LicenseProcess, peers: str, *, hosts_file: Path | None = None
) -> AsyncIterator[Sequence[GatewayProcess]]:
    async with AsyncExitStack() as running:
        started = [
            await running.enter_async_context(
                gateway_process(
                    folder,
                    asr_pools=NOWHERE,
                    license_proxy=proxy,
                    environment={"GATEWAY_PEERS": peers},
                    hosts_file=hosts_file,
                )
            )
            for _ in range(GATEWAYS)
        ]
        for each in started:
            await each.announced()
        yield started


async def fill(it: GatewayProcess, clients: AsyncExitStack) -> int:
    """Begin sessions until one is refused; how many did."""
    for begun in range(100):
        client = await clients.enter_async_context(it.client())
        first = await receive(client)
        if first["type"] != "Begin":
            assert first["error_code"] == 3009
            assert "the license leaves this gateway" in first["error"]
            return begun
    raise AssertionError("nobody was refused")


async def test_three_gateways_exceed_the_licenses_limit_by_two_at_most(tmp_path: Path) -> None:
    peers = "127.0.0.11,127.0.0.12,127.0.0.13"
    async with licensed(tmp_path) as it, gateways(tmp_path, it.proxy, peers) as three, AsyncExitStack() as clients:
        begun = [await fill(each, clients) for each in three]
        assert begun == [share(LIMIT, GATEWAYS)] * GATEWAYS == [4, 4, 4]
        assert LIMIT <= sum(begun) <= LIMIT + GATEWAYS - 1
        told = await three[0].metrics()
        assert told["streamstack_gateway_license_session_limit"] == 4
        assert told["streamstack_gateway_license_gateways"] == 3
        # A smaller license ends nobody's session.
        it.replace(max_sessions=3)
        for each in three:
            await each.until_metric("license_session_limit", 1)
            assert (await each.internal("/sessions"))[1]["sessions"] == 4


async def test_while_gateways_come_the_bound_is_the_sum_of_what_each_was_once_allowed(tmp_path: Path) -> None:
    if not await asyncio.to_thread(is_possible, tmp_path):
        pytest.skip("this machine lets no process have mounts of its own")
    hosts = tmp_path / "hosts"
    write_hosts(hosts, NAME, ["127.0.0.11", "127.0.0.12"])
    async with (
        licensed(tmp_path) as it,
        gateways(tmp_path, it.proxy, NAME, hosts_file=hosts) as three,
        AsyncExitStack() as clients,
    ):
        # Two count two and fill up; the third comes, and counts what the DNS still says.
        begun = [await fill(each, clients) for each in three]
        assert begun == [5, 5, 5]
        assert sum(begun) <= sum(-(-LIMIT // fewest) for fewest in (2, 2, 2)) < LIMIT * 3 / 2 + 3
        write_hosts(hosts, NAME, ["127.0.0.11", "127.0.0.12", "127.0.0.13"])
        for each in three:
            await each.until_metric("license_gateways", 3)
            # Above its share it admits nobody, and ends nobody.
            assert await fill(each, clients) == 0
            assert (await each.internal("/sessions"))[1]["sessions"] == 5
        # A name that is gone keeps the number: an outage of the DNS raises no share.
        write_hosts(hosts, "somebody.else.test", ["127.0.0.11"])
        for each in three:
            await each.until_logged(f"cannot resolve {NAME}")
        assert [(await each.metrics())["streamstack_gateway_license_gateways"] for each in three] == [3, 3, 3]
        # When the sessions of that time are over, the limit holds again.
        await clients.aclose()
        for each in three:
            await each.until_metric("sessions", 0)
        assert sum([await fill(each, clients) for each in three]) <= LIMIT + GATEWAYS - 1


async def test_failed_closes_admission_everywhere_and_live_sessions_go_on(tmp_path: Path) -> None:
    async with (
        licensed(tmp_path) as it,
        gateways(tmp_path, it.proxy, "127.0.0.11,127.0.0.12,127.0.0.13") as three,
        AsyncExitStack() as clients,
    ):
        live = [await clients.enter_async_context(each.client()) for each in three]
        for client in live:
            assert (await receive(client))["type"] == "Begin"
        it.replace(exp=int(time.time()) - 1)
        for each in three:
            await each.until_admission("license-blocked")
            async with each.client() as late:
                assert (await receive(late))["error_code"] == 1008
        for client in live:
            await client.send(bytes(3200))
            await client.send('{"type": "Terminate"}')
            while (message := await receive(client))["type"] != "Termination":
                assert message["type"] == "Warning"
            assert (await ended(client))[0] == 1000
        it.replace()
        for each in three:
            await each.until_admission("open")


async def test_a_model_beyond_the_license_is_refused_by_name_until_the_license_has_it(tmp_path: Path) -> None:
    async with (
        licensed(tmp_path, models=["universal-streaming-multilingual"]) as it,
        gateway_process(
            tmp_path,
            asr_pools="english/en-default=127.0.0.1:9;multilingual/ml-default=127.0.0.1:9",
            license_proxy=it.proxy,
        ) as gateway,
    ):
        await gateway.announced()
        async with gateway.client("/v3/ws?speech_model=universal-streaming-multilingual") as client:
            assert (await receive(client))["type"] == "Begin"
            async with gateway.client() as refused:
                error = await receive(refused)
                assert error["error_code"] == 1008
                assert "the license does not include the model 'universal-streaming-english'" in error["error"]
            it.replace(models=["english"])
            async with asyncio.timeout(20):
                while True:
                    async with gateway.client() as again:
                        if (await receive(again))["type"] == "Begin":
                            break
            # What is live was licensed when it began.
            await client.send('{"type": "Terminate"}')
            assert (await receive(client))["type"] == "Termination"
