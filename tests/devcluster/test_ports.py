import os
import socket
from collections.abc import Iterator

import pytest

from devcluster import ports
from devcluster.errors import DevError

# proc(5): sl local_address rem_address st tx_queue:rx_queue tr:tm->when retrnsmt uid timeout inode
TABLES = """  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:20FB 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 101 1 0 100 0 0 10 0
   1: 0100007F:20FB 0100007F:D431 01 00000000:00000000 00:00000000 00000000     0        0 102 1 0 20 4 30 10 -1
   2: 00000000:20FC 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 103 1 0 100 0 0 10 0
  sl  local_address                         remote_address                        st tx_queue rx_queue
   0: 00000000000000000000000000000000:20FB 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 104 1
"""  # noqa: E501


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_only_sockets_that_listen_on_the_port_count() -> None:
    assert ports.listening_inodes(TABLES, 8443) == ["101", "104"]
    assert ports.listening_inodes(TABLES, 8444) == ["103"]
    assert ports.listening_inodes(TABLES, 8445) == []


def test_a_taken_port_is_refused_by_the_name_of_who_has_it(taken: int) -> None:
    with pytest.raises(DevError, match=rf"port {taken} .* is taken by .*\(process {os.getpid()}\)"):
        ports.require_free(taken)


def test_the_next_port_is_chosen_where_the_first_is_taken_or_reserved(taken: int) -> None:
    chosen = ports.free_port(taken, reserved={taken + 1})
    assert chosen > taken + 1
    assert ports.is_free(chosen)


def test_a_port_is_free_again_as_soon_as_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            server.accept()[0].close()  # leaves the server's end in TIME_WAIT
    assert ports.is_free(port)


@pytest.mark.parametrize("port", [0, -1, 65536])
def test_a_number_that_is_no_port_is_refused(port: int) -> None:
    with pytest.raises(DevError, match="is not a port"):
        ports.require_valid(port)
