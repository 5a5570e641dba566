"""Releasing one piece leaves the digests of the others as they are."""

from pathlib import Path

import pytest

from devcluster import product_images
from devcluster.cache import Cache
from devcluster.docker import Docker
from devcluster.steps import Steps

pytestmark = pytest.mark.timeout(900)  # the first test waits for the images to be built


def test_a_change_in_one_piece_changes_its_image_alone(docker: Docker, steps: Steps, tree: Path) -> None:
    def built() -> dict[str, str]:
        images = product_images.selected(
            ["gateway", "asr-sphinx", "license-proxy", "license-authority", "asr-lb"], everything=False
        )
        done = product_images.build(images, docker=docker, cache=Cache(), steps=steps, root=tree)
        return {image.name: one.image_id for image, one in zip(images, done, strict=True)}

    def change(path: str) -> None:
        with (tree / path).open("a") as file:
            file.write("\n# A later line.\n")

    def changed() -> set[str]:
        return {name for name, image_id in built().items() if before[name] != image_id}

    before = built()
    assert changed() == set()

    change("images/gateway/streamstack_gateway/models.py")
    assert changed() == {"gateway"}

    before = built()
    change("images/license-authority/streamstack_license_authority/settings.py")
    assert changed() == {"license-authority"}

    before = built()
    change("images/asr-lb/nginx.conf")
    (tree / "README.md").write_text("Not in an image.\n")
    assert changed() == {"asr-lb"}

    before = built()
    change("images/common/streamstack_common/logs.py")
    assert changed() == {"gateway", "license-proxy", "license-authority", "asr-sphinx"}
