"""A runtime in front of runc that asks for no capability this machine cannot give.

`docker run --privileged` asks for every capability; runc refuses ("unable to apply caps") where the bounding set lacks
one. dockerd starts this program in runc's place: it strips what is missing from the bundle's configuration, or from the
process an `exec` starts, and becomes runc. Copied beside the engine's state and run alone: nothing else of devcluster
may be imported here.
"""

import json
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

# linux/capability.h, in the order of their numbers.
_NAMES = (
    "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE "
    "NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN "
    "SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE "
    "MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE"
)
CAPABILITIES = tuple(f"CAP_{name}" for name in _NAMES.split())


def missing(status: str) -> frozenset[str]:
    """Return the names of capabilities that the CapBnd line of proc(5)'s status lacks."""
    line = re.search(r"^CapBnd:\s*([0-9a-f]+)$", status, flags=re.MULTILINE)
    mask = int(line[1], 16) if line else (1 << 64) - 1
    return frozenset(name for number, name in enumerate(CAPABILITIES) if not mask >> number & 1)


def specification(arguments: Sequence[str]) -> Path | None:
    """Return the file in which this call of runc says what capabilities it wants, ``None`` for a call that has none.

    runc(8): `create` and `run` read config.json of `--bundle`, `exec` the file of `--process`.
    """
    command = next((argument for argument in arguments if argument in {"create", "run", "exec"}), None)
    if command is None:
        return None
    if command == "exec":
        process = _value(arguments, "--process", "-p")
        return Path(process) if process else None
    return Path(_value(arguments, "--bundle", "-b") or ".") / "config.json"


def limited(wanted: dict[str, Any], lacking: frozenset[str]) -> dict[str, Any]:
    """Return an OCI configuration, or the process of one, without the lacking capabilities."""
    if "process" in wanted:
        return {**wanted, "process": limited(wanted["process"], lacking)}
    if not wanted.get("capabilities"):
        return wanted
    kept = {kind: [name for name in names if name not in lacking] for kind, names in wanted["capabilities"].items()}
    return {**wanted, "capabilities": kept}


def _value(arguments: Sequence[str], *names: str) -> str | None:
    for argument, following in zip(arguments, [*arguments[1:], ""], strict=True):
        name, equals, value = argument.partition("=")
        if name in names:
            return value if equals else following
    return None


def main() -> None:
    """Strip, then become runc: the first argument is the real one, the rest are its own."""
    runc, arguments = sys.argv[1], sys.argv[2:]
    file = specification(arguments)
    if file is not None:
        lacking = missing(Path("/proc/self/status").read_text())
        new = file.with_name(f"{file.name}.limited")
        new.write_text(json.dumps(limited(json.loads(file.read_text()), lacking)))
        new.replace(file)
    os.execv(runc, [runc, *arguments])  # noqa: S606 - runc is the whole point


if __name__ == "__main__":
    main()
