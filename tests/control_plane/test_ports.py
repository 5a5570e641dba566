"""A reserved port: nobody else's, and the program's it is for as soon as that listens."""

import errno
import socket

import pytest

from devcluster.control_plane import ports


def listening_on(port: int, *, shared: bool) -> socket.socket:
    server = socket.socket()
    try:
        if shared:
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        server.bind(("127.0.0.1", port))
        server.listen()
    except OSError:
        server.close()
        raise
    return server


def test_somebody_else_cannot_take_it():
    with ports.reserved() as port, pytest.raises(OSError, match="Address already in use") as refused:
        listening_on(port, shared=False)
    assert refused.value.errno == errno.EADDRINUSE


def test_until_its_program_listens_nobody_answers():
    with ports.reserved() as port, pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


def test_its_program_gets_the_connections_while_it_is_reserved_and_after():
    with ports.reserved() as port:
        server = listening_on(port, shared=True)
        with socket.create_connection(server.getsockname()):
            server.accept()[0].close()
    with server, socket.create_connection(server.getsockname()):
        server.accept()[0].close()


def test_two_reservations_are_two_ports():
    with ports.reserved() as one, ports.reserved() as other:
        assert one != other
