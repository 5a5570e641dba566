"""What each version of the renderer makes, word for word."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from streamstack_operator.build.rendering import RENDERERS
from streamstack_operator.facts import Manifest, Stack
from streamstack_operator.model.pool import Pool
from streamstack_operator.model.spec import StreamingStackSpec
from support.golden import assert_golden
from support.manifests import everything, gateways, servers, template
from support.stack_specs import RELEASE, SMALLEST, stack

GOLDEN = Path(__file__).with_name("golden")
FROZEN = """{name} is not what it was.
A renderer must never change once released: from nothing but an operator upgrade, every stack there is would get a new
revision of its pods. Leave it as it is and add the next one to RENDERERS (build/rendering.py), with golden files of its
own. Only before its first release may the file be deleted; it is written anew then."""


def given(name: str) -> Stack:
    """A stack of the spec in a file."""
    spec: Any = yaml.safe_load((GOLDEN / f"{name}.spec.yaml").read_text("utf-8"))
    return stack(StreamingStackSpec.model_validate(spec), name=name)


STACKS = {"smallest": stack(SMALLEST), "full": given("full"), "gpus": given("gpus")}
"""``full`` gives everything something else than its default, ``gpus`` pools what came with renderer 3."""
SINCE = {"gpus": 3}
"""The renderer that a file of golden templates began with; what is in one cannot be added to."""


@pytest.mark.parametrize(
    ("version", "name"),
    [(version, name) for version in RENDERERS for name in STACKS if version >= SINCE.get(name, 1)],
)
def test_a_renderer_makes_the_templates_it_always_made(version: int, name: str) -> None:
    made = STACKS[name]
    release = replace(RELEASE, renderer=version)
    revisions = [gateways(made, release), *(servers(made, pool, release) for pool in made.spec.pools)]
    text = as_yaml([{"revision": found.revision, "template": template(found.deployment)} for found in revisions])
    file = GOLDEN / f"renderer-{version}-{name}.yaml"
    if not file.exists():
        assert_golden(text, file)
    assert text == file.read_text("utf-8"), FROZEN.format(name=file.name)


@pytest.mark.parametrize("name", STACKS)
def test_all_that_a_stack_is_rendered_to_was_looked_at(name: str) -> None:
    assert_golden(as_yaml(everything(STACKS[name])), GOLDEN / f"{name}.yaml")


class Readable(yaml.SafeDumper):
    """Texts of many lines as they are."""


Readable.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None),
)


def as_yaml(made: list[Manifest]) -> str:
    return "---\n".join(yaml.dump(manifest, Dumper=Readable, sort_keys=False, width=120) for manifest in made)


def test_the_full_spec_leaves_out_nothing_that_a_spec_may_say() -> None:
    full = STACKS["full"].spec.model_dump(by_alias=True, mode="json")
    default = SMALLEST.model_dump(by_alias=True, mode="json")
    assert full.keys() == default.keys()
    assert [key for key in full if full[key] == default[key]] == []


def test_pools_leave_out_nothing_that_a_pool_may_say() -> None:
    pools = [pool for name in ("full", "gpus") for pool in STACKS[name].spec.pools]
    assert [name for name in Pool.model_fields if all(name not in pool.model_fields_set for pool in pools)] == []
