"""A web server with one file, as well or as badly behaved as a test wants it."""

import hashlib
import re
import socket
import ssl
import struct
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


@dataclass
class Served:
    """What the server has and does; requests are noted as method, path and Range.

    ``cut_at`` closes a connection after so many bytes of a body, once for each entry; ``failures`` are answered first;
    so many requests as ``resets`` says get a reset; ``asked`` is set by a request, and ``gate`` is waited for before a
    body is sent. ``tls`` are a certificate and its key.
    """

    content: bytes
    tag: str | None = '"one"'
    modified: str | None = None
    ranges: bool = True
    shifted: int = 0
    cut_at: list[int] = field(default_factory=list)
    resets: int = 0
    tls: tuple[Path, Path] | None = None
    failures: list[int] = field(default_factory=list)
    redirects: list[str] = field(default_factory=list)
    requests: list[str | None] = field(default_factory=list)
    gate: threading.Event | None = None
    asked: threading.Event | None = None
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/models/small.tar.gz?signature=secret"

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()


def pack(folder: Path, path: Path, *, within: str = "small") -> bytes:
    """Make ``path`` an archive with a folder's files under ``within``, and return it."""
    with tarfile.open(path, "w:gz") as made:
        made.add(folder, arcname=within)
    return path.read_bytes()


@contextmanager
def serving(served: Served) -> Iterator[Served]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"served": served}))
    server.daemon_threads = False
    if served.tls is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*served.tls)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    served.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    served: Served

    def do_GET(self) -> None:
        self.served.requests.append(self.headers.get("Range"))
        if self.served.asked is not None:
            self.served.asked.set()
        if self.served.resets:
            self.served.resets -= 1
            # Closed without a word and with bytes unread: the kernel says so with a reset.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            self.connection.close()
            return
        if self.served.failures:
            self.send_error(self.served.failures.pop(0))
            return
        if self.served.redirects:
            self.send_response(302)
            self.send_header("Location", self.served.redirects.pop(0))
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self._answer(_first(self, self.served))

    def _answer(self, first: int) -> None:
        length = len(self.served.content)
        if first and first >= length:
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{length}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        body = self.served.content[first:]
        self.send_response(206 if first else 200)
        self.send_header("Content-Length", str(len(body)))
        if first:
            shown = first + self.served.shifted
            self.send_header("Content-Range", f"bytes {shown}-{length - 1}/{length}")
        for name, value in (("ETag", self.served.tag), ("Last-Modified", self.served.modified)):
            if value is not None:
                self.send_header(name, value)
        self.end_headers()
        if self.served.gate is not None:
            self.served.gate.wait(30)
        if self.served.cut_at:
            self.wfile.write(body[: self.served.cut_at.pop(0)])
            self.close_connection = True
        else:
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def _first(request: BaseHTTPRequestHandler, served: Served) -> int:
    """Return the first byte to send: of the range, when the condition that came with it holds."""
    asked = re.fullmatch(r"bytes=(\d+)-", request.headers.get("Range", ""))
    if asked is None or not served.ranges:
        return 0
    return int(asked[1]) if request.headers.get("If-Range") in {served.tag, served.modified} else 0
