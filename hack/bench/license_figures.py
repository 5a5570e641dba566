"""How soon a Failed license closes admission: one license proxy and three gateways, all of them real.

    python hack/bench/license_figures.py [--rounds 10] [--gateways 3]

From the moment the license file is replaced by an expired one to the moment the last gateway's ``/sessions`` says
``license-blocked``; between two rounds the license is good again everywhere.
"""

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

sys.path.extend(str(Path(__file__).resolve().parents[2] / folder) for folder in ("", "tests"))

import aiohttp
import machine

from support.gateway_process import GatewayProcess, gateway_process
from support.license_process import license_process
from support.signer import Signer

LOOK_SECONDS: Final = 0.01
"""How finely a gateway is watched; the figures are no finer."""

DEADLINE_SECONDS: Final = 60.0


async def seconds_until(gateway: GatewayProcess, http: aiohttp.ClientSession, admission: str, since: float) -> float:
    """Seconds since then at which a gateway's ``/sessions`` says so. Raises TimeoutError."""
    headers = {"Authorization": f"Bearer {gateway.token}"}
    async with asyncio.timeout(DEADLINE_SECONDS):
        while True:
            async with http.get(gateway.addresses["gateway_internal"] + "/sessions", headers=headers) as response:
                if (await response.json())["admission"] == admission:
                    return time.monotonic() - since
            await asyncio.sleep(LOOK_SECONDS)


def write_license(path: Path, signer: Signer, *, valid_seconds: int) -> None:
    """Replace the license in one step, as a kubelet does."""
    now = int(time.time())
    draft = path.with_suffix(".new")
    draft.write_bytes(signer.token(nbf=now - 1000, exp=now + valid_seconds, billing="flat", models=["*"]))
    draft.replace(path)


async def measure(folder: Path, *, gateways: int, rounds: int) -> list[float]:
    """Seconds to the last gateway, of each round."""
    signer, license_file, keys_file = Signer(), folder / "license.jwt", folder / "keys.json"
    keys_file.write_bytes(signer.jwks())
    write_license(license_file, signer, valid_seconds=86_400)
    async with AsyncExitStack() as running:
        proxy = await running.enter_async_context(
            license_process(folder, license_file=license_file, keys_file=keys_file)
        )
        started: list[GatewayProcess] = []
        for _ in range(gateways):
            process = gateway_process(folder, asr_pools="english/en-default=127.0.0.1:9", license_proxy=proxy)
            started.append(await running.enter_async_context(process))
            await started[-1].announced()
        http = await running.enter_async_context(aiohttp.ClientSession())
        measured = []
        for _ in range(rounds):
            write_license(license_file, signer, valid_seconds=-1)
            measured.append(await last(started, http, "license-blocked"))
            write_license(license_file, signer, valid_seconds=86_400)
            await last(started, http, "open")
        return measured


async def last(gateways: Sequence[GatewayProcess], http: aiohttp.ClientSession, admission: str) -> float:
    """Seconds from now until all gateways say so."""
    since = time.monotonic()
    return max(await asyncio.gather(*(seconds_until(gateway, http, admission, since) for gateway in gateways)))


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=10, help="how often the license fails")
    parser.add_argument("--gateways", type=int, default=3, help="gateways that have to notice")
    options = parser.parse_args()
    print(machine.describe(), flush=True)
    with tempfile.TemporaryDirectory(prefix="streamstack-license-") as folder:
        measured = asyncio.run(measure(Path(folder), gateways=options.gateways, rounds=options.rounds))
    print(
        f"Failed to closed admission in all {options.gateways} gateways, {options.rounds} times: "
        f"p50 {statistics.median(measured):.2f} s, max {max(measured):.2f} s"
    )


if __name__ == "__main__":
    main()
