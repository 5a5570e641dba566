import asyncio
import logging
import socket

import pytest

from streamstack_gateway.link.channel import Endpoint
from streamstack_gateway.placement.config import parse_target
from streamstack_gateway.placement.discovery import Discovery, resolve_by_dns


class Dns:
    def __init__(self) -> None:
        self.answers: dict[str, set[str] | None] = {}
        self.asked: list[str] = []

    async def resolve(self, host: str, port: int) -> set[tuple[str, int]]:
        self.asked.append(host)
        answer = self.answers.get(host)
        if answer is None:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return {(address, port) for address in answer}


class Rig:
    def __init__(self, *targets: str) -> None:
        self.dns = Dns()
        self.seen: list[set[str]] = []
        self.hosts: set[str] = set()
        self.discovery = Discovery(
            [parse_target(target) for target in targets], changed=self._changed, resolve=self.dns.resolve
        )

    def _changed(self, endpoints: frozenset[Endpoint]) -> None:
        self.seen.append({endpoint.address for endpoint in endpoints})
        self.hosts |= {endpoint.host for endpoint in endpoints}


async def test_every_address_behind_a_name_is_an_endpoint_that_remembers_the_name() -> None:
    rig = Rig("asr-english:50051")
    rig.dns.answers["asr-english"] = {"10.0.0.7", "fd00::7"}
    await rig.discovery.look()
    assert rig.seen == [{"10.0.0.7:50051", "[fd00::7]:50051"}]
    assert rig.hosts == {"asr-english"}


async def test_only_a_change_is_told() -> None:
    rig = Rig("asr:1")
    for answer in ({"10.0.0.1"}, {"10.0.0.1"}, {"10.0.0.1", "10.0.0.2"}, {"10.0.0.2"}):
        rig.dns.answers["asr"] = answer
        await rig.discovery.look()
    assert rig.seen == [{"10.0.0.1:1"}, {"10.0.0.1:1", "10.0.0.2:1"}, {"10.0.0.2:1"}]


async def test_a_failure_keeps_the_last_set_and_is_logged_once_until_it_changes(
    caplog: pytest.LogCaptureFixture,
) -> None:
    rig = Rig("asr:1", "other:2")
    rig.dns.answers = {"asr": {"10.0.0.1"}, "other": {"10.0.0.9"}}
    await rig.discovery.look()
    with caplog.at_level(logging.INFO):
        rig.dns.answers["asr"] = None
        for _ in range(3):
            await rig.discovery.look()
        assert len(caplog.records) == 1
        assert "asr:1" in caplog.text
        rig.dns.answers["asr"] = {"10.0.0.2"}
        await rig.discovery.look()
        assert len(caplog.records) == 2
    assert rig.seen == [{"10.0.0.1:1", "10.0.0.9:2"}, {"10.0.0.2:1", "10.0.0.9:2"}]


async def test_plain_addresses_need_no_dns_and_no_second_look() -> None:
    rig = Rig("10.0.0.7:50051", "[::1]:50052")
    await asyncio.wait_for(rig.discovery.run(), timeout=10)
    assert rig.seen == [{"10.0.0.7:50051", "[::1]:50052"}]
    assert rig.dns.asked == []


async def test_localhost_resolves_by_the_systems_resolver() -> None:
    assert ("127.0.0.1", 5) in await resolve_by_dns("localhost", 5)
