"""An API server as a script talks to it: JSON in and out with a kubeconfig's certificates, and watches as iterators."""

import json
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import ClientSession, ClientTimeout, TCPConnector

from streamstack_operator.kube.transport import open_transport

LINE_BYTES = 4 * 1024 * 1024
"""An event of a watch is a line, and a CRD is long."""
MERGE_PATCH = "application/merge-patch+json"


class ApiServerError(RuntimeError):
    """The API server refused; the message holds its answer."""


@dataclass(frozen=True, slots=True)
class ApiServer:
    """A connection; paths begin with ``/api`` or ``/apis``."""

    http: ClientSession

    async def get(self, path: str, **query: str) -> dict[str, Any]:
        """Return an object, or a list of objects."""
        return await self._ask("GET", path, params=query)

    async def create(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Make an object; as it was made."""
        return await self._ask("POST", path, json=body)

    async def patch(self, path: str, change: Mapping[str, Any]) -> dict[str, Any]:
        """JSON merge patch (RFC 7386)."""
        return await self._ask("PATCH", path, data=json.dumps(change), headers={"Content-Type": MERGE_PATCH})

    async def remove(self, path: str) -> None:
        """Delete at once, without anybody's grace; what is gone already is gone."""
        async with self.http.delete(path, json={"gracePeriodSeconds": 0}) as answer:
            if answer.status not in {200, 202, 404}:
                raise ApiServerError(f"DELETE {path}: {await answer.text()}")

    async def watch(self, path: str, **query: str) -> AsyncIterator[tuple[str, dict[str, Any]]]:
        """Yield what is there and then what changes, as ADDED, MODIFIED or DELETED and the object."""
        parameters = {"watch": "1", "timeoutSeconds": "3600", **query}
        async with self.http.get(path, params=parameters, timeout=ClientTimeout(total=None)) as answer:
            if answer.status != 200:
                raise ApiServerError(f"watching {path}: {await answer.text()}")
            async for line in answer.content:
                event = json.loads(line)
                yield event["type"], event["object"]

    async def _ask(self, method: str, path: str, **more: Any) -> dict[str, Any]:
        async with self.http.request(method, path, **more) as answer:
            body: dict[str, Any] = await answer.json(content_type=None)
            if answer.status >= 300:
                raise ApiServerError(f"{method} {path}: {body.get('message', body)}")
            return body


@asynccontextmanager
async def api_server(kubeconfig: Path) -> AsyncIterator[ApiServer]:
    """Connect as the kubeconfig says, by a certificate."""
    transport = await open_transport(kubeconfig)
    try:
        access = await transport.access()
    finally:
        await transport.close()
    if access.certificate_file is None:
        raise ApiServerError(f"{kubeconfig}: expected a user with a certificate")
    tls = ssl.create_default_context(cafile=access.ca_file)
    tls.load_cert_chain(access.certificate_file, access.key_file)
    connector = TCPConnector(ssl=tls, limit=64)
    async with ClientSession(access.server, connector=connector, read_bufsize=LINE_BYTES) as http:
        yield ApiServer(http)
