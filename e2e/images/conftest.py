"""The product's images, built from this tree, and containers as locked up as a cluster may lock them."""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from devcluster import base_images, product_images
from devcluster.cache import Cache
from devcluster.docker import Docker, rows
from devcluster.steps import Steps
from streamstack_cli import throwaway_license
from support.service import write_credential

LOCKED = ("--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges")
PATIENCE_SECONDS = 90.0
SECRETS = "/run/streamstack"
NO_API_SERVER = json.dumps(
    {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "none",
        "clusters": [{"name": "none", "cluster": {"server": "https://127.0.0.1:1"}}],
        "users": [{"name": "none", "user": {}}],
        "contexts": [{"name": "none", "context": {"cluster": "none", "user": "none"}}],
    }
)
"""A kubeconfig that leads nowhere: an operator is healthy without an API server, and not ready."""
TREE_VERSION = f"0.0.0-test-{os.getpid()}"


@dataclass(frozen=True, slots=True)
class Container:
    """A running container."""

    docker: Docker
    container_id: str
    started_at: float

    def until_health(self, wanted: str) -> None:
        """Wait for the engine's word on the health command. Raises AssertionError when it never comes."""
        command = [
            *(self.docker.binary, "events", "--format", "{{.Status}}", "--filter", f"container={self.container_id}"),
            *("--since", f"{self.started_at:.3f}", "--until", f"{time.time() + PATIENCE_SECONDS:.3f}"),
        ]
        seen = []
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, **self.docker.env}) as say:
            for line in say.stdout or ():
                seen.append(line.strip())
                if seen[-1] in {f"health_status: {wanted}", "die"}:
                    break
            say.terminate()
        assert seen, f"no event: {self.log}"
        assert seen[-1] == f"health_status: {wanted}", f"{seen}\n{self.health}\n{self.log}"

    @property
    def health(self) -> list[str]:
        """What the health command said, oldest first."""
        log = self.inspect("{{json .State.Health.Log}}")
        return [entry["Output"].strip() for entry in log]

    @property
    def log(self) -> str:
        _, out, err = self.docker.attempt("logs", self.container_id)
        return out + err

    def inspect(self, template: str) -> Any:
        """Return a part of what the engine knows, as JSON."""
        return json.loads(self.docker.capture("inspect", "--format", template, self.container_id))

    def users(self) -> set[str]:
        """User ids of the container's processes."""
        return set(self.docker.capture("top", self.container_id, "-eo", "uid,pid").split()[2::2])

    def endpoint(self, port: int) -> str:
        """Return ``host:port`` by which this machine reaches a published port."""
        return rows(self.docker.capture("port", self.container_id, f"{port}/tcp"))[0]

    def signal(self, name: str) -> None:
        self.docker.capture("kill", "--signal", name, self.container_id)

    def wait(self) -> int:
        """Wait for the end; the exit status."""
        return int(self.docker.capture("wait", self.container_id, timeout_seconds=PATIENCE_SECONDS))


@dataclass(frozen=True, slots=True)
class Runner:
    """Starts containers with the product's images; all of them are gone when the test is over."""

    docker: Docker
    references: Mapping[str, str]
    secrets: Path
    label: str

    def start(self, image: str, *options: str, **environment: str) -> Container:
        """Run an image locked up, with the stack's credential and license under ``SECRETS``."""
        variables = {"STREAMSTACK_CREDENTIAL_FILE": f"{SECRETS}/credential", **environment}
        started_at = time.time()
        container_id = self.docker.capture(
            *("run", "--detach", "--label", self.label, *LOCKED, "--health-interval=1s", "--health-start-period=0s"),
            *("--volume", f"{self.secrets}:{SECRETS}:ro"),
            *(part for name, value in variables.items() for part in ("--env", f"{name}={value}")),
            *options,
            self.references[image],
        )
        return Container(self.docker, container_id.strip(), started_at)

    def license_proxy(self, *options: str, **environment: str) -> Container:
        return self.start(
            "license-proxy",
            *options,
            LICENSE_FILE_PATH=f"{SECRETS}/license.jwt",
            LICENSE_EXTRA_KEYS_FILE=f"{SECRETS}/license-keys.jwks.json",
            **environment,
        )

    def license_authority(self, *options: str, **environment: str) -> Container:
        """Run an authority with a volume for its ledger and its key, which it cannot be without."""
        ledger = ("--mount", "type=volume,target=/var/lib/streamstack")
        return self.start("license-authority", *ledger, *options, PUBLIC_URL="https://authority.test", **environment)

    def asr(self, *options: str, **environment: str) -> Container:
        return self.start("asr-sphinx", *options, **environment)

    def balancer(self, *options: str) -> Container:
        return self.start("asr-lb", "--tmpfs", "/tmp:mode=1777", *options)  # noqa: S108 - the container's own

    def gateway(self, *options: str, license_proxy: str, **environment: str) -> Container:
        variables = {"AAI_ASR_ENDPOINT": "streaming-asr-lb:80", **environment}
        return self.start(
            "gateway", *options, AAI_LICENSE_AND_USAGE_PROXY_ENDPOINT=f"http://{license_proxy}:8080", **variables
        )

    def operator(self, *options: str, **environment: str) -> Container:
        return self.start("operator", *options, **{"KUBECONFIG": f"{SECRETS}/kubeconfig", **environment})

    def clear(self) -> None:
        listed = rows(self.docker.capture("ps", "--all", "--quiet", "--filter", f"label={self.label}"))
        if listed:
            self.docker.capture("rm", "--force", "--volumes", *listed)


@pytest.fixture(scope="session")
def docker(engine: Docker) -> Docker:
    return engine


@pytest.fixture(scope="session")
def steps(tmp_path_factory: pytest.TempPathFactory) -> Steps:
    return Steps(tmp_path_factory.mktemp("logs"))


@pytest.fixture(scope="session")
def references(docker: Docker, steps: Steps) -> Mapping[str, str]:
    """Image name to reference, all built from this tree but the ones with gigabytes."""
    images = product_images.selected((), everything=False)
    built = product_images.build(images, docker=docker, cache=Cache(), steps=steps)
    return {image.name: done.reference for image, done in zip(images, built, strict=True)}


@pytest.fixture(scope="session")
def local_base(docker: Docker, references: Mapping[str, str], steps: Steps) -> bool:
    """Whether the images stand on our own bases, which hold no shell; the public ones do."""
    chosen = base_images.choose(
        product_images.PYTHON, mode="auto", env=os.environ, docker=docker, cache=Cache(), steps=steps
    )
    return all(reference == base_images.LOCAL[name].reference for name, reference in chosen.items())


@pytest.fixture
def tree(docker: Docker, tmp_path: Path) -> Iterator[Path]:
    """A copy of what images are made of, with a version of its own: the product's tags stay what they are."""
    root = product_images.ROOT
    without = shutil.ignore_patterns("__pycache__", "*.whl")
    for folder in ("images", "requirements"):
        shutil.copytree(root / folder, tmp_path / folder, ignore=without)
    shutil.copy(root / ".dockerignore", tmp_path)
    project = (root / "pyproject.toml").read_text()
    own = project.replace(f'version = "{product_images.version()}"', f'version = "{TREE_VERSION}"', 1)
    assert own != project
    (tmp_path / "pyproject.toml").write_text(own)
    try:
        yield tmp_path
    finally:
        # Those that lost their tag to a later build too.
        label = f"label=org.opencontainers.image.version={TREE_VERSION}"
        made = set(rows(docker.capture("image", "ls", "--quiet", "--no-trunc", "--filter", label)))
        if made:
            docker.capture("image", "rm", "--force", *sorted(made))


@pytest.fixture(scope="session")
def make_runner() -> type[Runner]:
    """What starts containers, for images that are not built on the way."""
    return Runner


@pytest.fixture(scope="module")
def runner(docker: Docker, references: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runner]:
    secrets = tmp_path_factory.mktemp("secrets")
    write_credential(secrets)
    throwaway_license.make(secrets)
    (secrets / "kubeconfig").write_text(NO_API_SERVER)
    for path in (secrets, *secrets.iterdir()):
        path.chmod(0o755)  # readable by the images' user
    made = Runner(docker, references, secrets, label=f"streamstack-test={secrets}")
    try:
        yield made
    finally:
        made.clear()


@pytest.fixture(scope="module")
def network(docker: Docker, runner: Runner) -> Iterator[str]:
    """A network with Docker's DNS; names are aliases in it."""
    name = f"streamstack-test-{os.getpid()}-{time.monotonic_ns()}"
    docker.capture("network", "create", "--label", runner.label, name)
    try:
        yield name
    finally:
        runner.clear()
        docker.capture("network", "rm", name)
