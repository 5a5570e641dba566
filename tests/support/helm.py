"""Helm, the one that hack/tools pins, away from whatever Helm and cluster the machine's user has."""

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

CHARTS = Path(__file__).resolve().parents[2] / "charts"
OPERATOR = CHARTS / "streamstack-operator"
STACK = CHARTS / "streamstack"

Values = Mapping[str, Any]
Manifest = dict[str, Any]


class HelmError(Exception):
    """Helm refused; the message is what it said."""


@dataclass(frozen=True, slots=True)
class Helm:
    """A program, a folder for what it keeps, and the cluster it talks to; without a ``kubeconfig`` to none."""

    program: Path
    home: Path
    kubeconfig: Path = Path("/dev/null")

    def __call__(self, *args: str | Path, values: Values | None = None, timeout_seconds: float = 60) -> str:
        """Run a command, ``values`` as its values file; its standard output. Raises HelmError."""
        if values is not None:
            args = (*args, "--values=-")
        done = subprocess.run(
            [self.program, *args],
            input=None if values is None else json.dumps(values),
            capture_output=True,
            text=True,
            timeout=timeout_seconds,
            check=False,
            env=self._environment(),
        )
        if done.returncode != 0:
            raise HelmError(done.stdout + done.stderr)
        return done.stdout

    def rendered(self, chart: Path, *args: str | Path, release: str = "demo", values: Values | None = None) -> str:
        """Render a chart in the namespace ``speech``."""
        return self("template", release, chart, "--namespace=speech", *args, values=values)

    def manifests(
        self, chart: Path, *args: str | Path, release: str = "demo", values: Values | None = None
    ) -> list[Manifest]:
        """Return the objects of a chart."""
        return [obj for obj in yaml.safe_load_all(self.rendered(chart, *args, release=release, values=values)) if obj]

    def notes(self, chart: Path, *args: str | Path, release: str = "demo", values: Values | None = None) -> str:
        """Return what is told to whoever installs a chart."""
        output = self("install", release, chart, "--namespace=speech", "--dry-run=client", *args, values=values)
        return output.partition("\nNOTES:\n")[2]

    def _environment(self) -> dict[str, str]:
        own = {"HELM_CACHE_HOME": "cache", "HELM_CONFIG_HOME": "config", "HELM_DATA_HOME": "data"}
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("HELM_", "KUBE"))}
        return (
            kept
            | {name: str(self.home / folder) for name, folder in own.items()}
            | {"KUBECONFIG": str(self.kubeconfig)}
        )


def one(manifests: list[Manifest], kind: str, name: str | None = None) -> Manifest:
    """Return the only object of a kind, or of a kind and name."""
    (found,) = of_kind(manifests, kind) if name is None else [o for o in of_kind(manifests, kind) if _name(o) == name]
    return found


def of_kind(manifests: list[Manifest], kind: str) -> list[Manifest]:
    return [manifest for manifest in manifests if manifest["kind"] == kind]


def _name(manifest: Manifest) -> str:
    return str(manifest["metadata"]["name"])
