import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from ssl import PROTOCOL_TLS_SERVER, SSLContext
from typing import ClassVar

import pytest

from streamstack_common import health_check
from support.certificates import write_self_signed

RUN_AND_SHOW_MODULES = """
import runpy, sys
try:
    runpy.run_module(sys.argv.pop(1), run_name="__main__")
finally:
    print(*sys.modules)
"""


class Answer(BaseHTTPRequestHandler):
    """Says it is healthy on /healthy, and why it is not on any other path."""

    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        self.send_response(200 if self.path == "/healthy" else 503)
        self.end_headers()
        self.wfile.write(b"no word yet\n" * 1000)

    def log_message(self, *_: object) -> None:
        """Silent."""


@contextmanager
def serving(context: SSLContext | None = None) -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        if context is not None:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with serving() as found:
        yield found


def test_an_answer_of_200_is_healthy(port: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert health_check.main([f"http://127.0.0.1:{port}/healthy"], {}) == 0
    assert capsys.readouterr().out == ""


def test_another_answer_is_unhealthy_and_its_reason_is_passed_on_in_part(
    port: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert health_check.main([f"http://127.0.0.1:{port}/ill"], {}) == 1
    said = capsys.readouterr().out
    assert said.startswith(f"http://127.0.0.1:{port}/ill: 503 no word yet")
    assert len(said) < health_check.LONGEST_REASON_BYTES + 100


def test_nobody_there_is_unhealthy_and_said_in_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    with serving() as port:
        pass
    assert health_check.main([f"http://127.0.0.1:{port}/healthy"], {}) == 1
    assert "Connection refused" in capsys.readouterr().out


def test_the_port_is_the_environments(port: int) -> None:
    url = "http://127.0.0.1:${PORT:-1}/healthy"
    assert health_check.main([url], {"PORT": str(port)}) == 0
    assert health_check.main([url], {}) == 1


@pytest.mark.parametrize("environment", [{}, {"PORT": ""}])
def test_a_variable_that_is_not_set_or_empty_has_its_default(environment: dict[str, str]) -> None:
    assert health_check.expand("http://localhost:${PORT:-8080}/x", environment) == "http://localhost:8080/x"


def test_where_the_variable_for_tls_is_set_it_speaks_tls(port: int, tmp_path: Path) -> None:
    context = SSLContext(PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*write_self_signed(tmp_path, "elsewhere"))
    with serving(context) as secure_port:
        url = f"http://127.0.0.1:{secure_port}/healthy"
        assert health_check.main([url, "SSL_CERT_PATH"], {"SSL_CERT_PATH": "/tls.crt"}) == 0
        assert health_check.main([f"http://127.0.0.1:{port}/healthy", "SSL_CERT_PATH"], {"SSL_CERT_PATH": ""}) == 0


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "expected a URL"),
        (["http://127.0.0.1:1/", "A", "B"], "expected a URL"),
        (["ftp://127.0.0.1:1/"], "expected http://HOST:PORT/PATH"),
        (["http:///healthy"], "expected http://HOST:PORT/PATH"),
        (["http://127.0.0.1:eighty/healthy"], "eighty"),
        (["http://127.0.0.1:70000/healthy"], "70000"),
    ],
)
def test_what_cannot_be_asked_is_unhealthy_and_named(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert health_check.main(arguments, {}) == 1
    assert complaint in capsys.readouterr().out


def test_as_a_command_it_ends_with_0_or_1_and_loads_the_standard_library_alone(port: int) -> None:
    def run(path: str) -> "subprocess.CompletedProcess[str]":
        url = f"http://127.0.0.1:{port}{path}"
        command = [sys.executable, "-c", RUN_AND_SHOW_MODULES, "streamstack_common.health_check", url]
        return subprocess.run(command, check=False, capture_output=True, text=True, env={"PATH": os.environ["PATH"]})

    healthy = run("/healthy")
    assert healthy.returncode == 0
    assert not {"aiohttp", "pydantic", "asyncio"} & set(healthy.stdout.split())
    assert run("/ill").returncode == 1
