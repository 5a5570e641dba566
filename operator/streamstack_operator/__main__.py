"""``python -m streamstack_operator``."""

import asyncio

from streamstack_common import logs, process
from streamstack_common.credential import Credential, CredentialError
from streamstack_common.settings import load, refuse_start
from streamstack_operator.kube import KubeConfigError, connect
from streamstack_operator.service import serve
from streamstack_operator.settings import OperatorSettings


def main() -> None:
    """Run the operator; exits 2 when its configuration cannot be used."""
    process.seal()
    process.die_with_parent()
    settings = load(OperatorSettings)
    logs.configure(service="operator", level=settings.logging_level, structured=settings.use_structured_logging)
    try:
        credential = Credential(settings.credential_file)
    except CredentialError as error:
        refuse_start([str(error)])
    asyncio.run(_run(settings, credential))


async def _run(settings: OperatorSettings, credential: Credential) -> None:
    try:
        server = await connect(settings.kubeconfig)
    except KubeConfigError as error:
        refuse_start([str(error)])
    async with server:
        await serve(settings, credential=credential, server=server)


if __name__ == "__main__":
    main()
