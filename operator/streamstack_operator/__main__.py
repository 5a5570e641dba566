"""``python -m streamstack_operator``."""

import asyncio

from streamstack_common import logs, process
from streamstack_common.credential import Credential, CredentialError
from streamstack_common.settings import load, refuse_start
from streamstack_operator.build.rendering import NEWEST
from streamstack_operator.cache import Cache
from streamstack_operator.facts import Problem, Release
from streamstack_operator.kube import KubeConfigError, connect
from streamstack_operator.reconcile import Reconciler
from streamstack_operator.scrape import Scraper
from streamstack_operator.served import missing_fields
from streamstack_operator.service import Work, serve
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
    release = Release(version=settings.version, renderer=NEWEST, images=settings.images)
    cache = Cache()
    async with server as kube, Scraper() as scraper:
        reconciler = Reconciler(kube=kube, cache=cache, scraper=scraper, release=release)

        def crd_changed(outdated: Problem | None) -> None:
            reconciler.crd_problem = outdated

        work = Work(reconcile=reconciler, crd_changed=crd_changed, missing_fields=missing_fields)
        await serve(settings, credential=credential, kube=kube, cache=cache, work=work)


if __name__ == "__main__":
    main()
