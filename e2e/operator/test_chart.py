"""A stack in one ``helm install``, from its chart: no workload in it, so Helm never touches what has sessions."""

import asyncio
import json
from pathlib import Path
from typing import Any

from e2e.support import manifests
from e2e.support.installed_operator import STACK_CHART, Operator
from e2e.support.speaker import speaking
from e2e.support.stack import Stack, eventually, left, own_namespace

from streamstack_cli import throwaway_license
from support.certificates import write_self_signed

RELEASE = "speech"


def files(folder: Path, namespace: str, host: str) -> tuple[list[str], Path]:
    """What somebody who installs has beside the chart: values, a license and a certificate; and whom clients trust."""
    spec = manifests.streaming_stack(namespace, name=RELEASE, host=host)["spec"]
    small: dict[str, Any] = {"license": {"secretName": None, "extraKeysKey": None}, "ingress": {"tls": None}}
    values = folder / "values.json"
    values.write_text(json.dumps(manifests.merged(spec, small | {"drain": {"onDelete": True}})))
    made = throwaway_license.make(folder)
    certificate, key = write_self_signed(folder, host)
    given = {
        "license.jwt": made.license_file,
        "license.extraKeys": made.keys_file,
        "ingress.tls.crt": certificate,
        "ingress.tls.key": key,
    }
    options = [part for name, path in given.items() for part in ("--set-file", f"{name}={path}")]
    return [f"--values={values}", *options], certificate


async def test_no_cut_a_stack_from_its_chart_is_upgraded_rolled_back_and_uninstalled_around_a_live_session(
    operator: Operator, tmp_path: Path
) -> None:
    async with own_namespace(operator) as namespace:
        host = f"{namespace}.streamstack.test"
        options, authority = files(tmp_path, namespace, host)
        stack = Stack(operator, namespace, RELEASE, host, authority)

        async def helm(*arguments: str | Path) -> None:
            await asyncio.to_thread(operator.helm.run, *arguments, f"--namespace={namespace}")

        async def flips(*arguments: str | Path) -> str:
            before = await stack.revision("gateway")

            async def has_flipped() -> bool:
                return await stack.revision("gateway") != before

            await helm(*arguments)
            await eventually(has_flipped)
            return await stack.revision("gateway")

        await helm("install", RELEASE, STACK_CHART, *options)
        await stack.ready()
        await stack.answers()
        first = await stack.revision("gateway")
        async with speaking(stack.endpoint) as speaker:
            await flips("upgrade", RELEASE, STACK_CHART, *options, "--set", "gateway.capacity=16")
            assert await flips("rollback", RELEASE) == first
            await helm("uninstall", RELEASE)
            assert "deletionTimestamp" in (await stack.object(stack.what))["metadata"]
            await speaker.hears()
            await speaker.finish()
        # A proxy that restarts while sessions drain has to find its Secret, so Helm leaves those it made.
        kept = {f"secret/{RELEASE}-license", f"secret/{RELEASE}-ingress-tls"}
        await left(stack, {f"persistentvolumeclaim/journal-{RELEASE}-license-proxy-0", *kept})
