"""A control plane alone: etcd, kube-apiserver and kube-controller-manager as plain processes on loopback.

No root, no engine, no node: objects are stored, defaulted, validated, authorised, garbage collected and reconciled by
Kubernetes' own controllers; pods stay pending. Everything it stores is disposable. One process, the keeper
(:mod:`.keeper`), owns the others: all of them run, or none does.
"""

import json
import re
import shutil
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from devcluster import gotools
from devcluster.cache import Cache, require_space
from devcluster.control_plane import config, keeping, pki, ports
from devcluster.control_plane.config import Layout
from devcluster.control_plane.readiness import Administrator
from devcluster.errors import DevError
from devcluster.steps import Steps
from devcluster.undoing import uninterrupted

KIND = "control-plane"
LOCK = "control-planes"
"""One for all names: test runs have a new name each, and a lock's file stays."""

PROGRAMS = ("etcd", "kube-apiserver", "kube-controller-manager")
SCHEDULER = "kube-scheduler"
STATE_GIGABYTES = 0.3
"""What the state takes (measured: 135 MB, etcd's two preallocated log segments) and some room to write in."""

READY_SECONDS = 60.0
"""Twenty times what it takes on two idle cores."""

PATIENCE_SECONDS = 30.0
"""How long one that runs may stay silent before it is taken for dead."""

ASK_AGAIN_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class ControlPlaneFacts:
    """A control plane that is up: who may talk to it, where, and its process ids by program name."""

    name: str
    kubeconfig: Path
    api_port: int
    pids: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class ControlPlaneStatus:
    """What is known of a control plane: ``facts`` where it was up once, whether it answers now, a sentence about it."""

    facts: ControlPlaneFacts | None
    healthy: bool
    says: str


def up(
    name: str, *, cache: Cache, steps: Steps, with_scheduler: bool = False, die_with: int | None = None
) -> ControlPlaneFacts:
    """Start a control plane, or return the facts of the healthy one of this name; a dead one's remains go first.

    ``die_with`` is a process id: with that process's end, however it comes, the control plane and its files are gone.
    Without it, it runs until :func:`down`; of one that runs already, whoever started it decided that.
    ``with_scheduler`` adds kube-scheduler. Interrupted or failing, it leaves nothing but the log. Raises
    :class:`DevError` when a program cannot be built or ends, when there is no openssl, space or port, and when the name
    belongs to a cluster of another kind.
    """
    layout = _layout(name, cache)
    wanted = (*PROGRAMS, SCHEDULER) if with_scheduler else PROGRAMS
    programs = {program: gotools.build(program, cache=cache, steps=steps) for program in wanted}
    with cache.lock(LOCK):
        found = _running(layout)
        if found:
            if not set(wanted) <= set(found.pids):
                raise DevError(f"control plane {name} runs without a scheduler", do="take it down first")
            return found
        _clear(layout)
        require_space(cache.root, STATE_GIGABYTES, purpose=f"control plane {name}")
        with steps.step(f"starting control plane {name}") as log:
            try:
                return _start(name, layout, programs, die_with=die_with)
            except DevError:
                _undo(layout, log)
                raise
            except OSError as error:
                _undo(layout, log)
                raise DevError(
                    f"{layout.folder}: {error.strerror or error}",
                    do="see `df -h`; STREAMSTACK_CACHE chooses another place",
                ) from error
            except BaseException:
                with uninterrupted():
                    _clear(layout)
                raise


def down(name: str, *, cache: Cache, steps: Steps) -> None:
    """End a control plane and remove what it left; one that is not there is down already."""
    layout = _layout(name, cache)
    with cache.lock(LOCK):
        _facts(layout)
        if layout.folder.exists() or keeping.is_kept(layout.folder):
            with steps.step(f"taking control plane {name} down"):
                _clear(layout)


def status(name: str, *, cache: Cache) -> ControlPlaneStatus:
    """Ask a control plane how it is; it has up to five seconds to answer."""
    layout = _layout(name, cache)
    facts = _facts(layout)
    if facts is None:
        return ControlPlaneStatus(None, healthy=False, says=f"there is no control plane {name}")
    if not keeping.is_kept(layout.folder):
        program, how = keeping.what_ended(layout.folder) or ("it", "was ended from outside")
        return ControlPlaneStatus(facts, healthy=False, says=f"control plane {name} is dead: {program} {how}")
    if not Administrator(layout.pki, port=facts.api_port).finds("/readyz"):
        return ControlPlaneStatus(facts, healthy=False, says=f"control plane {name} runs and does not answer")
    return ControlPlaneStatus(facts, healthy=True, says=f"control plane {name} is ready on port {facts.api_port}")


def _running(layout: Layout) -> ControlPlaneFacts | None:
    """Return the facts of a control plane that runs; one on a busy machine may take its time to answer."""
    facts = _facts(layout)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while facts and keeping.is_kept(layout.folder) and time.monotonic() < deadline:
        if Administrator(layout.pki, port=facts.api_port).finds("/readyz"):
            return facts
        time.sleep(ASK_AGAIN_SECONDS)
    return None


def _start(name: str, layout: Layout, programs: Mapping[str, Path], *, die_with: int | None) -> ControlPlaneFacts:
    for folder in (layout.folder, layout.pki, layout.logs):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    layout.folder.chmod(0o700)  # it may have been there, made by another step
    _write_facts(layout, None)  # whose this is, for `down`, should this process be killed
    pki.make(layout.pki, log=layout.log("openssl"))
    with ports.reserved() as port, keeping.starting(layout.folder, die_with=die_with) as keeper:
        _write_kubeconfigs(layout, port)
        administrator = Administrator(layout.pki, port=port)
        pids = {}

        def start(program: str, command: list[str | Path]) -> None:
            pids[program] = keeper.start(program, command)

        def until_found(path: str) -> None:
            deadline = time.monotonic() + READY_SECONDS
            while not administrator.finds(path):
                keeper.watch(ASK_AGAIN_SECONDS)
                if time.monotonic() > deadline:
                    raise DevError(f"{path} was not there after {READY_SECONDS:g} s", do="read the log")

        start("etcd", config.etcd(programs["etcd"]))
        start("kube-apiserver", config.apiserver(programs["kube-apiserver"], pki=layout.pki, port=port))
        until_found("/readyz")
        start("kube-controller-manager", config.controller_manager(programs["kube-controller-manager"], pki=layout.pki))
        if SCHEDULER in programs:
            start(SCHEDULER, config.scheduler(programs[SCHEDULER], pki=layout.pki))
        # The first thing that controllers make, and what every pod needs.
        until_found("/api/v1/namespaces/default/serviceaccounts/default")
        facts = ControlPlaneFacts(name, layout.kubeconfig, port, pids)
        _write_facts(layout, facts)
        keeper.keep()
    return facts


def _write_kubeconfigs(layout: Layout, port: int) -> None:
    users = {
        "admin": layout.kubeconfig,
        "controller-manager": layout.pki / "controller-manager.kubeconfig",
        "scheduler": layout.pki / "scheduler.kubeconfig",
    }
    for user, path in users.items():
        path.touch(mode=0o600)
        path.write_text(
            config.kubeconfig(
                port=port,
                authority=(layout.pki / "ca.crt").read_bytes(),
                certificate=(layout.pki / f"{user}.crt").read_bytes(),
                key=(layout.pki / f"{user}.key").read_bytes(),
            )
        )


def _write_facts(layout: Layout, facts: ControlPlaneFacts | None) -> None:
    unfinished = layout.facts.with_suffix(".new")
    unfinished.write_text(json.dumps({"kind": KIND, **(asdict(facts) if facts else {})}, default=str, indent=1))
    unfinished.rename(layout.facts)


def _facts(layout: Layout) -> ControlPlaneFacts | None:
    """Return what was written when it came up, if it ever did; :class:`DevError` where the name is somebody else's."""
    try:
        found = json.loads(layout.facts.read_text())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise DevError(f"{layout.facts} is damaged: {error}", do=f"remove {layout.folder}") from error
    if found["kind"] != KIND:
        raise DevError(
            f"{layout.folder.name} is a cluster of kind {found['kind']}, not a control plane alone",
            do="choose another --name, or take that cluster down first",
        )
    if "pids" not in found:
        return None  # whoever was starting it was killed
    return ControlPlaneFacts(found["name"], Path(found["kubeconfig"]), found["api_port"], found["pids"])


def _clear(layout: Layout) -> None:
    keeping.end(layout.folder)
    if layout.folder.exists():
        shutil.rmtree(layout.folder)


def _undo(layout: Layout, log: Path) -> None:
    """Leave nothing, except, for whoever wants to know why it failed, everything that was said in one ``log``."""
    with uninterrupted():
        keeping.end(layout.folder)
        said = [f"--- {path.name}\n{path.read_text(errors='replace')}" for path in sorted(layout.logs.glob("*.log"))]
        _clear(layout)
        with suppress(OSError):  # a disk that is still full has no room for it; the error says what counts
            log.parent.mkdir(parents=True, exist_ok=True)
            log.write_text("\n".join(said))


def _layout(name: str, cache: Cache) -> Layout:
    if sys.platform != "linux":
        raise DevError(f"a control plane alone needs Linux, this is {sys.platform}", do="use a kind cluster")
    if not re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?", name):
        raise DevError(
            f"{name!r} is no name for a cluster: expected at most 40 of a-z, 0-9 and '-', not at either end",
            do="choose another --name",
        )
    return Layout(cache.clusters.resolve() / name)
