"""kubectl, the one that fits, and a cluster it talks to."""

import json
import re
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from devcluster import gotools, versions
from devcluster.cache import Cache
from devcluster.commands import attempt, capture, shown
from devcluster.errors import DevError
from devcluster.steps import Steps

TRY_SECONDS = 20.0
"""How long one of several tries may take."""


@dataclass(frozen=True, slots=True)
class Kube:
    """A kubectl program and the kubeconfig it uses."""

    kubectl: Path
    kubeconfig: Path

    def capture(self, *args: str, stdin: str | None = None, timeout_seconds: float = 60) -> str:
        """Return a kubectl command's standard output; :class:`DevError` when it fails."""
        return capture(
            self._command(*args), stdin=None if stdin is None else stdin.encode(), timeout_seconds=timeout_seconds
        )

    def attempt(self, *args: str, timeout_seconds: float = 60) -> tuple[int, str, str]:
        """Run a kubectl command that may fail: status, standard output, standard error."""
        return attempt(self._command(*args), timeout_seconds=timeout_seconds)

    def until(self, args: Sequence[str], *, seconds: float) -> str:
        """Repeat a command until it succeeds; its standard output. :class:`DevError` with its last words otherwise."""
        deadline = time.monotonic() + seconds
        while True:
            status, output, errors = self.attempt(*args, timeout_seconds=TRY_SECONDS)
            if status == 0:
                return output
            if time.monotonic() > deadline:
                raise DevError(
                    f"`kubectl {shown(args)}` did not succeed within {seconds:g} s: {errors.strip()}",
                    do="try it by hand",
                )
            time.sleep(0.2)  # a server that does not answer announces nothing

    def objects(self, *args: str) -> list[dict[str, Any]]:
        """Return the items of `kubectl get ARGS`."""
        items: list[dict[str, Any]] = json.loads(self.capture("get", *args, "--output=json"))["items"]
        return items

    def apply(self, manifests: str) -> None:
        """Apply manifests server-side: what is as it should be is not touched."""
        self.capture(
            "apply", "--server-side", "--force-conflicts", "--field-manager=hack-cluster", "-f-", stdin=manifests
        )

    def _command(self, *args: str) -> tuple[str | Path, ...]:
        return (self.kubectl, f"--kubeconfig={self.kubeconfig}", *args)


def kubectl_for(version: str, *, cache: Cache, steps: Steps) -> Path:
    """Return the user's kubectl where it is within one minor of ``version`` (Kubernetes' skew policy), else ours."""
    found = shutil.which("kubectl")
    if found is not None:
        status, output, _ = attempt((found, "version", "--client", "--output=json"))
        if status == 0 and within_skew(str(json.loads(output)["clientVersion"]["gitVersion"]), version):
            return Path(found)
    return gotools.build("kubectl", cache=cache, steps=steps)


def within_skew(client: str, server: str) -> bool:
    """Tell whether a client ("v1.35.1") may talk to a server ("v1.36.3"): one minor version up or down."""
    ours, theirs = _minor(client), _minor(server)
    return ours is not None and theirs is not None and ours[0] == theirs[0] and abs(ours[1] - theirs[1]) <= 1


def kind_program(*, cache: Cache, steps: Steps) -> Path:
    """Return the user's kind where it is recent enough, else ours."""
    found = shutil.which("kind")
    if found is not None:
        status, output, _ = attempt((found, "version", "--quiet"))
        numbers = _minor(output.strip())
        if status == 0 and numbers is not None and numbers >= versions.MINIMUM_KIND:
            return Path(found)
    return gotools.build("kind", cache=cache, steps=steps)


def _minor(version: str) -> tuple[int, int] | None:
    match = re.match(r"v?(\d+)\.(\d+)", version)
    return (int(match[1]), int(match[2])) if match else None
