"""All that a stack is rendered to, and the parts of it that tests ask for."""

from typing import Any

from streamstack_operator.build import asr, children, gateway
from streamstack_operator.build.rendering import Rendered, newest
from streamstack_operator.facts import Manifest, Release, Stack
from streamstack_operator.model.pool import Pool
from streamstack_operator.names import Component
from support.stack_specs import RELEASE


def gateways(stack: Stack, release: Release = RELEASE) -> Rendered:
    """The gateways' revision, newly made."""
    return gateway.render(stack, newest(release, Component.GATEWAY))


def servers(stack: Stack, pool: Pool | None = None, release: Release = RELEASE) -> Rendered:
    """A pool's revision, newly made; the first pool's."""
    wanted = stack.spec.pools[0] if pool is None else pool
    return asr.render(stack, wanted, newest(release, Component.ASR, wanted.engine))


def everything(stack: Stack, release: Release = RELEASE) -> list[Manifest]:
    """Every child of a stack with one revision of gateways and of each pool."""
    front = gateways(stack, release)
    made = [*children.fixed(stack, release), front.deployment]
    made += [*gateway.services(stack, front.revision), gateway.budget(stack, front.revision)]
    for pool in stack.spec.pools:
        back = servers(stack, pool, release)
        made += [back.deployment, asr.service(stack, pool, back.revision), asr.budget(stack, pool, back.revision)]
    return made


def of_kind(made: list[Manifest], kind: str) -> list[Manifest]:
    return [manifest for manifest in made if manifest["kind"] == kind]


def workloads(made: list[Manifest]) -> list[Manifest]:
    """What has a pod template."""
    return [manifest for manifest in made if "template" in manifest.get("spec", {})]


def template(manifest: Manifest) -> Manifest:
    found: Manifest = manifest["spec"]["template"]
    return found


def main_container(manifest: Manifest) -> Manifest:
    (found,) = template(manifest)["spec"]["containers"]
    return dict(found)


def variables(manifest: Manifest) -> dict[str, Any]:
    """The environment by name: a value, or where it comes from."""
    found = main_container(manifest)["env"]
    assert len({entry["name"] for entry in found}) == len(found)
    return {entry["name"]: entry.get("value", entry.get("valueFrom")) for entry in found}


def files(manifest: Manifest) -> dict[str, str]:
    """Every file that a pod has from Secrets: its path to "Secret/key"."""
    mounts = {mount["name"]: mount["mountPath"] for mount in main_container(manifest)["volumeMounts"]}
    found = {}
    for volume in template(manifest)["spec"]["volumes"]:
        for item in volume.get("secret", {}).get("items", ()):
            found[f"{mounts[volume['name']]}/{item['path']}"] = f"{volume['secret']['secretName']}/{item['key']}"
    return found
