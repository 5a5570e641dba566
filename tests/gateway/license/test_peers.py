import asyncio
import socket

import pytest

from streamstack_gateway.license.peers import Peers, PeersError, parse_peers
from support.waiting import Waiting


class Dns(Waiting):
    """Answers for one name; None is a failure."""

    def __init__(self, *addresses: str) -> None:
        super().__init__()
        self.addresses: set[str] | None = set(addresses)
        self.asked = 0

    async def resolve(self, host: str, port: int) -> set[tuple[str, int]]:
        self.asked += 1
        self.notify()
        if self.addresses is None:
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return {(address, port) for address in self.addresses}

    async def again(self) -> None:
        """Wait until an answer given before this call has been used."""
        asked = self.asked
        await self.until(lambda: self.asked >= asked + 2)


def peers(dns: Dns, text: str = "gateways.default.svc") -> Peers:
    return Peers(parse_peers(text), resolve=dns.resolve, interval_seconds=0.01)


async def test_without_peers_there_is_one_gateway() -> None:
    it = Peers(parse_peers(""))
    await it.start()
    assert it.gateways() == 1
    await it.stop()


async def test_the_addresses_behind_a_name_are_counted_from_the_start_and_again() -> None:
    dns = Dns("10.0.0.1", "10.0.0.2")
    it = peers(dns)
    await it.start()
    assert it.gateways() == 2
    dns.addresses = {"10.0.0.1", "10.0.0.2", "10.0.0.3"}
    await dns.again()
    assert it.gateways() == 3
    dns.addresses = {"10.0.0.3"}
    await dns.again()
    assert it.gateways() == 1
    await it.stop()


async def test_a_name_that_never_resolved_is_one_gateway_and_one_that_fails_later_keeps_the_number() -> None:
    dns = Dns()
    dns.addresses = None
    it = peers(dns)
    await it.start()
    assert it.gateways() == 1
    dns.addresses = {"10.0.0.1", "10.0.0.2", "10.0.0.3"}
    await dns.again()
    assert it.gateways() == 3
    dns.addresses = None
    await dns.again()
    assert it.gateways() == 3
    await it.stop()


async def test_a_gateway_with_both_kinds_of_addresses_counts_once() -> None:
    it = peers(Dns("10.0.0.1", "fd00::1", "10.0.0.2", "fd00::2", "fd00::3"))
    await it.start()
    assert it.gateways() == 3
    await it.stop()


async def test_a_list_of_addresses_needs_no_dns() -> None:
    dns = Dns()
    it = peers(dns, "10.0.0.1, 10.0.0.2,10.0.0.3")
    await it.start()
    assert (it.gateways(), dns.asked) == (3, 0)
    await it.stop()
    six = peers(dns, "fd00::1,fd00::2")
    await six.start()
    assert (six.gateways(), dns.asked) == (2, 0)
    await six.stop()


@pytest.mark.parametrize("text", ["a b", "host:80", "http://host", "-", "a,b:1"])
def test_what_is_no_name_is_refused(text: str) -> None:
    with pytest.raises(PeersError, match="GATEWAY_PEERS"):
        parse_peers(text)


async def test_stopping_before_starting_and_twice_is_fine() -> None:
    it = peers(Dns("10.0.0.1"))
    await it.stop()
    await it.start()
    await asyncio.sleep(0)
    await it.stop()
    await it.stop()
