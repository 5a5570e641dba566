"""A DNS server that knows a few names (RFC 1035): what a cluster's DNS would say of Services."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

A = 1
NO_SUCH_NAME = 3


@asynccontextmanager
async def dns_server(names: Mapping[str, str]) -> AsyncIterator[str]:
    """Answer for these names, each an IPv4 address; no other name is there. Yields the server's ``host:port``."""
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: _Server(names), local_addr=("127.0.0.1", 0))
    try:
        host, port = transport.get_extra_info("sockname")
        yield f"{host}:{port}"
    finally:
        transport.close()


class _Server(asyncio.DatagramProtocol):
    def __init__(self, names: Mapping[str, str]) -> None:
        self._names = names
        self._transport: asyncio.DatagramTransport

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._transport.sendto(answer(data, self._names), addr)


def answer(query: bytes, names: Mapping[str, str]) -> bytes:
    """The answer to one question."""
    labels, at = [], 12
    while query[at]:
        labels.append(query[at + 1 : at + 1 + query[at]].decode())
        at += 1 + query[at]
    (kind,) = struct.unpack_from("!H", query, at + 1)
    question = query[12 : at + 5]
    address = names.get(".".join(labels).lower())
    records = b""
    if address is not None and kind == A:
        # The name is the question's; class IN, kept for no time.
        records = struct.pack("!HHHIH", 0xC00C, A, 1, 0, 4) + socket.inet_aton(address)
    code = 0x8180 | (NO_SUCH_NAME if address is None else 0)
    return query[:2] + struct.pack("!HHHHH", code, 1, 1 if records else 0, 0, 0) + question + records
