"""A port of the kernel's choice that stays ours until the program it is for listens on it."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from devcluster.control_plane.config import ADDRESS
from devcluster.errors import DevError


@contextmanager
def reserved() -> Iterator[int]:
    """Reserve a TCP port on loopback while the block runs, for a program that binds with SO_REUSEPORT.

    The socket is bound and never listens: the kernel gives its port to nobody who lets it choose, and connections go to
    whoever listens. Raises :class:`DevError` when there is no free port.
    """
    with socket.socket() as reservation:
        reservation.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        try:
            reservation.bind((ADDRESS, 0))
        except OSError as error:
            raise DevError(
                f"no port on {ADDRESS}: {error.strerror}",
                do="see `ss -tan` and `sysctl net.ipv4.ip_local_port_range`",
            ) from error
        yield reservation.getsockname()[1]
