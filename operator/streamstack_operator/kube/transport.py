"""HTTP to the API server with the official client's credentials: service account, kubeconfig, token refresh, TLS."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from aiohttp import ClientError
from kubernetes.aio import client, config
from kubernetes.aio.config import ConfigException

from streamstack_operator.kube.errors import ApiUnavailableError, KubeConfigError
from streamstack_operator.names import CHILD_MANAGER

REQUEST_SECONDS: Final = 10.0
BEARER: Final = "BearerToken"
"""The client's own name of the one way to authenticate that is not TLS."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Status and body of an answer."""

    status: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Access:
    """How one gets to the API server at this moment: the same for everybody in this process."""

    server: str
    authorization: str | None = field(repr=False)
    ca_file: str | None
    certificate_file: str | None
    key_file: str | None
    verify: bool
    proxy: str | None


class Transport:
    """Connections to one API server."""

    def __init__(self, configuration: client.Configuration) -> None:
        self._configuration = configuration
        self._client = client.ApiClient(configuration)
        self._client.user_agent = CHILD_MANAGER
        self.host: str = configuration.host

    async def close(self) -> None:
        """Close all connections."""
        await self._client.close()

    async def access(self) -> Access:
        """Return how to get in now; a service account's token is read from its file again when it may have changed."""
        known = self._configuration
        settings = await known.auth_settings()
        bearer = settings.get(BEARER)
        return Access(
            server=known.host,
            authorization=bearer["value"] if bearer else None,
            ca_file=known.ssl_ca_cert,
            certificate_file=known.cert_file,
            key_file=known.key_file,
            verify=bool(known.verify_ssl),
            proxy=known.proxy,
        )

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        content_type: str = "application/json",
        accept: str = "application/json",
        seconds: float = REQUEST_SECONDS,
    ) -> Answer:
        """Ask once. Raises ApiUnavailableError when nothing comes back within ``seconds``."""
        headers = {"Accept": accept, "Content-Type": content_type}
        try:
            async with asyncio.timeout(seconds):
                _, url, headers, content, _ = await self._client.param_serialize(
                    method,
                    path,
                    query_params=list((query or {}).items()),
                    header_params=headers,
                    body=body,
                    auth_settings=[BEARER],
                )
                response = await self._client.call_api(method, url, header_params=headers, body=content)
                return Answer(response.status, await response.read())
        except TimeoutError as error:
            raise ApiUnavailableError(self.host, f"does not answer within {seconds:g} s") from error
        except (ClientError, OSError, ConfigException) as error:
            raise ApiUnavailableError(self.host, f"does not answer: {error or type(error).__name__}") from error


async def open_transport(kubeconfig: Path | None) -> Transport:
    """Return a connection by the kubeconfig where one is given, by the pod's service account otherwise.

    Raises:
        KubeConfigError: neither is usable; the message names what was looked at.

    """
    configuration = client.Configuration()
    try:
        if kubeconfig is None:
            config.load_incluster_config(client_configuration=configuration)
        else:
            await config.load_kube_config(config_file=str(kubeconfig), client_configuration=configuration)
    except ConfigException as error:
        where = f"KUBECONFIG {kubeconfig}" if kubeconfig else "no KUBECONFIG, and this is no pod with a service account"
        raise KubeConfigError(f"{where}: {error}") from error
    return Transport(configuration)
