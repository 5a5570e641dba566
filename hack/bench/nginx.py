"""nginx in the gateway's place: the same frames, only proxied. Its cost is the machine's floor, so ratios travel."""

import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import machine
import processes

LISTENER_VARIABLE: Final = "NGINX"
"""How nginx hands open listeners to its successor; here it takes a port the kernel chose."""

START_SECONDS: Final = 5.0

_CONFIGURATION: Final = """
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr error;
worker_rlimit_nofile 20000;
events {{ worker_connections 10000; }}
http {{
    access_log off;
    client_body_temp_path {folder};
    proxy_temp_path {folder};
    fastcgi_temp_path {folder};
    uwsgi_temp_path {folder};
    scgi_temp_path {folder};
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location / {{
            proxy_pass http://127.0.0.1:{upstream};
            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection "upgrade";
            proxy_read_timeout 1h;
            proxy_send_timeout 1h;
        }}
    }}
}}
"""


@contextlib.contextmanager
def baseline(*, logs: Path) -> Iterator[processes.Child]:
    """Run nginx, one worker, on the served core before an echo server on the load core."""
    with (
        processes.announcing("echo", processes.script("echo.py"), core=machine.LOAD_CORE, logs=logs) as echo,
        socket.create_server(("127.0.0.1", 0), backlog=4_096) as listener,
    ):
        port = listener.getsockname()[1]
        configuration = logs / "nginx.conf"
        configuration.write_text(
            _CONFIGURATION.format(folder=logs, port=port, upstream=echo.announced["echo"]), encoding="utf-8"
        )
        log_file = logs / "nginx.log"
        with log_file.open("wb") as log:
            process = subprocess.Popen(
                processes.on_core(machine.SERVED_CORE, ["nginx", "-p", str(logs), "-c", str(configuration)]),
                env={**os.environ, LISTENER_VARIABLE: f"{listener.fileno()};"},
                pass_fds=[listener.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            yield processes.Child(
                "nginx", process, {"gateway": f"ws://127.0.0.1:{port}"}, log_file, pid=_worker(process, log_file)
            )
        finally:
            processes.stop(process)


def _worker(master: subprocess.Popen[bytes], log_file: Path) -> int:
    """Return the worker's pid once there is one (proc(5), ``children``)."""
    children = Path(f"/proc/{master.pid}/task/{master.pid}/children")
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and master.poll() is None:
        pids = children.read_text(encoding="ascii").split()
        if pids:
            return int(pids[0])
        time.sleep(0.01)
    raise processes.ChildError(f"nginx did not start\n{processes.last_lines(log_file)}")
