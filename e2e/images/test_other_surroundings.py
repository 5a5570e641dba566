"""Images on other bases and in closed networks: with an installer and a shell in the base, without a package index."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from devcluster import base_images, product_images
from devcluster.cache import Cache
from devcluster.docker import Docker
from devcluster.steps import Steps

pytestmark = pytest.mark.timeout(900)  # the first test waits for the images to be built

NOBODY = "http://127.0.0.1:9"
"""A proxy that refuses; pip would ask it for everything."""

LOOK = """
import importlib.util, json, pathlib, shutil, sys
names = ("ensurepip", "pip", "setuptools", "pkg_resources")
print(json.dumps({
    "shell": shutil.which("sh"),
    "installers": [name for name in names if importlib.util.find_spec(name)],
    "bytecode": pathlib.Path(importlib.util.find_spec("json").cached).exists(),
}))
"""


def test_a_base_with_a_shell_and_an_installer_loses_the_installer_and_gains_bytecode(
    docker: Docker, steps: Steps, tree: Path
) -> None:
    base = base_images.choose(("BUILD_IMAGE",), mode="local", env={}, docker=docker, cache=Cache(), steps=steps)
    bases = {"BUILD_IMAGE": base["BUILD_IMAGE"], "BASE_IMAGE": base["BUILD_IMAGE"]}
    images = product_images.selected(["license-proxy"], everything=False)
    [built] = product_images.build(
        images, docker=docker, cache=Cache(), steps=steps, env={**os.environ, **bases}, root=tree
    )
    looked = docker.capture("run", "--rm", "--entrypoint", "python", built.reference, "-c", LOOK)
    assert json.loads(looked) == {"shell": "/usr/bin/sh", "installers": [], "bytecode": True}


def test_wheels_of_a_folder_stand_in_for_the_package_index(docker: Docker, steps: Steps, tree: Path) -> None:
    requirements = tree / "requirements/license-proxy.txt"
    download = ("-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes", "--only-binary=:all:")
    subprocess.run(
        [sys.executable, *download, "-r", requirements, "-d", tree / "images/wheelhouse"], check=True, timeout=120
    )
    images = product_images.selected(["license-proxy"], everything=False)
    closed = {"HTTP_PROXY": NOBODY, "HTTPS_PROXY": NOBODY, "https_proxy": NOBODY}
    [built] = product_images.build(images, docker=docker, cache=Cache(), steps=steps, env=closed, root=tree)
    status, _, complaint = docker.attempt("run", "--rm", built.reference)
    assert status == 2, complaint
    assert "STREAMSTACK_CREDENTIAL_FILE" in complaint


def test_the_target_for_the_gpu_builds_and_chooses_its_engine(docker: Docker, steps: Steps, tree: Path) -> None:
    # Without the gigabytes of torch, which `hack/images build --all` brings; stages, paths and settings are the same.
    shutil.copy(tree / "requirements/asr.txt", tree / "requirements/nemotron.txt")
    images = product_images.selected(["asr-nemotron"], everything=False)
    [built] = product_images.build(images, docker=docker, cache=Cache(), steps=steps, root=tree)
    status, _, complaint = docker.attempt("run", "--rm", "--env", "STREAMSTACK_CREDENTIAL_FILE=/x", built.reference)
    assert status == 1
    assert "engine 'nemotron' is not" in complaint
