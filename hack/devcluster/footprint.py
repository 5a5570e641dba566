"""What an engine or a cluster leaves on a machine: facts before, facts after, and the difference in readable lines.

What a machine does meanwhile for others must not count. Docker's objects, mounts, interfaces, rules and kernel settings
are taken as they are. Processes, their listening sockets and cgroups are taken where they are an engine's or a
cluster's: by the program's name, by a cgroup that engines and kubelets make, or by a program or an argument in one of
the folders that the caller names. Images and build cache are no trace: they are what a second run is fast by.
"""

import json
import os
import re
import shutil
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from devcluster import interfaces, mounts, netfilter, processes, sysctls
from devcluster.commands import capture
from devcluster.docker import Docker, rows
from devcluster.interfaces import ADMIN_PATH
from devcluster.listening import listening
from devcluster.processes import Process

PROGRAMS = re.compile(
    r"(docker|containerd|limited-runc|runc$|buildkit|kind$|kube|etcd$|coredns$|traefik|local-path-prov|rootlesskit)"
)
CGROUPS = re.compile(r"(docker|streamstack-|kube|containerd|cri-|buildkit|libpod)")
"""How the names of programs, and of cgroups, of engines and clusters begin."""


@dataclass(frozen=True, slots=True)
class Footprint:
    """Facts of one moment, each a line that a person can read. ``take`` reads them, ``left_behind`` compares."""

    containers: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    mounts: tuple[str, ...] = ()
    interfaces: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()
    processes: tuple[str, ...] = ()
    sockets: tuple[str, ...] = ()
    cgroups: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    files: tuple[str, ...] = ()

    @classmethod
    def take(cls, docker: Docker | None, *, folders: Sequence[Path] = ()) -> "Footprint":
        """Read the machine as it is now.

        ``docker`` is the engine whose objects count, ``None`` where none runs. ``folders`` are those whose files count,
        and whose programs do. Packet filter rules can only be read by root; nobody else can have changed them.
        """
        ours = [process for process in processes.running() if _is_ours(process, folders)]
        return cls(
            containers=_objects(docker, "ps", "--all", "--format", "{{.Names}} ({{.Image}}, {{.ID}})"),
            networks=_objects(docker, "network", "ls", "--format", "{{.Name}} ({{.Driver}}, {{.ID}})"),
            volumes=_objects(docker, "volume", "ls", "--quiet"),
            mounts=tuple(sorted(f"{mount.point} ({mount.kind})" for mount in mounts.read())),
            interfaces=tuple(interfaces.names()),
            rules=tuple(sorted(_rules())) if os.geteuid() == 0 else (),
            processes=tuple(_shown(process) for process in ours),
            sockets=tuple(listening(process.pid for process in ours)),
            cgroups=tuple(sorted(_cgroups())),
            settings=tuple(f"{name} = {value}" for name, value in sorted(sysctls.read().items())),
            files=tuple(sorted(str(path) for folder in folders for path in folder.rglob("*"))),
        )

    def left_behind(self, after: "Footprint") -> list[str]:
        """Return what is there ``after`` and was not there before, and which rules of others are gone; a line each."""
        lines = []
        for field in fields(self):
            was, now = Counter(getattr(self, field.name)), Counter(getattr(after, field.name))
            kind = field.name.removesuffix("es" if field.name == "processes" else "s")
            lines += [f"{kind}: {fact}" for fact in _outermost(sorted((now - was).elements()))]
            if field.name == "rules":
                lines += [f"rule taken away: {fact}" for fact in sorted((was - now).elements())]
        return lines

    def to_json(self) -> str:
        """Return the facts as text, for another process to compare with."""
        return json.dumps(asdict(self), indent=1)

    @classmethod
    def from_json(cls, text: str) -> "Footprint":
        """Read what :meth:`to_json` wrote."""
        return cls(**{name: tuple(facts) for name, facts in json.loads(text).items()})


def nft_facts(ruleset: str) -> list[str]:
    """Return one line per table, chain, set and rule of `nft list ruleset`, without counters and remaining times."""
    context: list[str] = []
    facts = []
    for raw in ruleset.splitlines():
        line = re.sub(r"counter packets \d+ bytes \d+", "counter", raw.strip())
        line = re.sub(r" expires \S+", "", line)
        if line == "}":
            context.pop()
        elif line and not line.startswith("#"):
            facts.append("nft: " + " > ".join([*context, line.removesuffix(" {")]))
            if line.endswith("{"):
                context.append(line.removesuffix(" {"))
    return facts


def _objects(docker: Docker | None, *command: str) -> tuple[str, ...]:
    return tuple(sorted(rows(docker.capture(*command)))) if docker else ()


def _rules() -> Iterator[str]:
    """Yield the rules of both families as iptables says them, and as nft does, which alone sees empty tables."""
    for family in ("iptables", "ip6tables"):
        saved = _said(f"{family}-save")
        yield from (f"{family}: {fact}" for fact in netfilter.parse(saved).facts())
    managed = re.compile(r"nft: table ip6? (filter|nat|mangle|raw|security) > ")  # told by iptables-save already
    yield from (fact for fact in nft_facts(_said("nft", "list", "ruleset")) if not managed.match(fact))


def _said(program: str, *arguments: str) -> str:
    path = shutil.which(program, path=ADMIN_PATH["PATH"])
    return capture((path, *arguments), do=f"look whether {program} works here") if path else ""


def _is_ours(process: Process, folders: Sequence[Path]) -> bool:
    if process.pid == os.getpid():
        return False
    places = [word for word in (processes.executable(process.pid), *process.arguments) if word]
    return (
        PROGRAMS.match(process.program) is not None
        or any(Path(word).is_relative_to(folder) for word in places for folder in folders)
        or any(CGROUPS.match(part) for part in processes.cgroup_path(process.pid))
    )


def _shown(process: Process) -> str:
    """Return a line that tells a process from a later one with the same number: its start, in ticks since boot."""
    command = " ".join(process.arguments)
    return f"{process.pid}@{process.started} {command if len(command) <= 160 else f'{command[:157]}...'}"


def _cgroups() -> set[str]:
    """Return paths inside the hierarchies, each once: version 1 has the same path under every controller."""
    found: set[str] = set()
    for root in mounts.cgroup_roots():
        for folder, names, _ in os.walk(root):
            parts = Path(folder).relative_to(root).parts
            found.update("/".join([*parts, name]) for name in names if any(map(CGROUPS.match, [*parts, name])))
    return found


def _outermost(facts: Sequence[str]) -> list[str]:
    """Leave out what lies inside something that is named already."""
    kept: list[str] = []
    for fact in facts:
        if not (kept and fact.startswith(f"{kept[-1]}/")):
            kept.append(fact)
    return kept


if __name__ == "__main__":
    print(Footprint.take(None, folders=[Path(folder) for folder in sys.argv[1:]]).to_json())
