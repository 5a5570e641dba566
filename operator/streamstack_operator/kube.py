"""The Kubernetes API server, the one module that knows its client.

The dynamic and generated clients changed their signatures between minors (kubernetes-client/python#2631), so everything
the operator asks of the API server is a method here.
"""

from pathlib import Path
from types import TracebackType
from typing import Final, Self

from aiohttp import ClientError
from kubernetes.aio import client, config
from kubernetes.aio.client.exceptions import ApiException
from kubernetes.aio.config import ConfigException

OLDEST_MINOR: Final = 33
"""The oldest Kubernetes 1.x whose API this operator is built for."""

REQUEST_SECONDS: Final = 10.0


class KubeConfigError(ValueError):
    """There is no usable way to the API server: neither a service account nor a kubeconfig."""


class ApiUnavailableError(Exception):
    """The API server did not answer, or answered something that is no answer; the message says which."""


class ApiServer:
    """A connection to the API server; use it as an asynchronous context."""

    def __init__(self, configuration: client.Configuration) -> None:
        self._client = client.ApiClient(configuration)
        self.host: str = configuration.host

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.close()

    async def version(self) -> tuple[int, int]:
        """Return the API server's version, such as ``(1, 36)``.

        Raises:
            ApiUnavailableError: it did not answer within ``REQUEST_SECONDS``, or refused.

        """
        try:
            told = await client.VersionApi(self._client).get_code(_request_timeout=REQUEST_SECONDS)
        except ApiException as error:
            raise ApiUnavailableError(f"{self.host} refused /version: {error.status} {error.reason}") from error
        except (ClientError, TimeoutError, OSError) as error:
            raise ApiUnavailableError(f"{self.host} does not answer: {error or type(error).__name__}") from error
        # Vendors append to the minor ("33+").
        return int(told.major), int("".join(filter(str.isdigit, told.minor)))


async def connect(kubeconfig: Path | None) -> ApiServer:
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
    return ApiServer(configuration)
