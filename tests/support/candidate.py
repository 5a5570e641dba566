"""A process that stands for election and announces itself when it leads: ``python -m support.candidate``."""

import asyncio
import os
from pathlib import Path

from streamstack_common import process
from streamstack_operator.election import Election, Times
from streamstack_operator.kube import connect


async def _work() -> None:
    process.announce(candidate=os.environ["IDENTITY"])
    await asyncio.Event().wait()


async def _main() -> None:
    process.die_with_parent()
    stop = process.stop_requested()
    async with await connect(Path(os.environ["KUBECONFIG"])) as kube:
        election = Election(
            kube,
            namespace=os.environ["POD_NAMESPACE"],
            name="operator",
            identity=os.environ["IDENTITY"],
            times=Times.of(int(os.environ["LEASE_SECONDS"])),
        )
        await process.run_until(stop, election.run(_work))


if __name__ == "__main__":
    asyncio.run(_main())
