"""Debian's nginx as a process with a configuration of its own, on a port the kernel chooses."""

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

BINARY = "/usr/sbin/nginx"

# Directives as the seeds' balancer has them: routing on X-Model-Version, streams that may be idle for hours.
CONFIG = """
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    map $http_x_model_version $backend {{
        default {default};
{routes}
    }}
{upstreams}
    server {{
        listen 127.0.0.1:{port} http2;
        client_max_body_size 0;
        client_header_timeout 10h;
        keepalive_timeout 10h;
        send_timeout 10h;
        location / {{
            grpc_pass grpc://$backend;
            grpc_connect_timeout 75s;
            grpc_read_timeout 10h;
            grpc_send_timeout 10h;
            grpc_socket_keepalive on;
        }}
    }}
}}
"""


@asynccontextmanager
async def running_nginx(folder: Path, routes: dict[str, list[str]]) -> AsyncIterator[str]:
    """Route each model version to its addresses; yields nginx's own. The first route is the default."""
    folder.mkdir(parents=True, exist_ok=True)
    names = {version: f"pool{n}" for n, version in enumerate(routes)}
    upstreams = "\n".join(
        f"    upstream {names[version]} {{ {' '.join(f'server {address};' for address in addresses)} }}"
        for version, addresses in routes.items()
    )
    # nginx takes over a socket that is listening already, so the kernel chooses the port and nobody waits for it.
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    config = CONFIG.format(
        folder=folder,
        port=port,
        default=next(iter(names.values())),
        routes="\n".join(f"        {version} {name};" for version, name in names.items()),
        upstreams=upstreams,
    )
    async with nginx_process(folder, config, [listener]):
        yield f"127.0.0.1:{port}"


@asynccontextmanager
async def nginx_process(folder: Path, config: str, listeners: Sequence[socket.socket]) -> AsyncIterator[None]:
    """Run nginx with a configuration that listens where these sockets do already; they are closed here."""
    (folder / "nginx.conf").write_text(config)
    with ExitStack() as open_here:
        for listener in listeners:
            open_here.enter_context(listener)
        inherited = [listener.fileno() for listener in listeners]
        process = await asyncio.create_subprocess_exec(
            *(BINARY, "-p", str(folder), "-e", str(folder / "error.log"), "-c", str(folder / "nginx.conf")),
            *("-g", "daemon off;"),
            env={"NGINX": "".join(f"{descriptor};" for descriptor in inherited)},
            pass_fds=inherited,
        )
    try:
        yield
    finally:
        if process.returncode is not None:
            raise RuntimeError(f"nginx ended by itself: {(folder / 'error.log').read_text()}")
        process.terminate()
        await process.wait()
