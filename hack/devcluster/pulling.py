"""Images from a registry, where one answers: asked quickly, and never waited for where none does."""

import os
import selectors
import subprocess
import time

from devcluster.docker import Docker
from devcluster.steps import Steps

ANSWER_SECONDS = 15.0
"""How long a registry may take to name what it has; a transfer that began may take as long as it takes."""

_BEGUN = b"Pulling from"
"""What the engine says once a registry has answered for the reference."""


def pulled(docker: Docker, reference: str, *, steps: Steps) -> str | None:
    """Pull an image; ``None`` when it is in the engine afterwards, else why no registry gives it."""
    with steps.step(f"asking a registry for {reference}") as log:
        process = subprocess.Popen(
            (docker.binary, "pull", reference),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, **docker.env},
            start_new_session=True,
        )
        try:
            output, silent = _first_answer(process)
            if silent:
                return f"no answer within {ANSWER_SECONDS:g} s"
            output += process.stdout.read() if process.stdout is not None else b""
            status = process.wait()
        finally:
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()
        log.write_bytes(output)
        if status == 0:
            return None
        lines = output.decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else f"`docker pull` ended with status {status}"


def _first_answer(process: "subprocess.Popen[bytes]") -> tuple[bytes, bool]:
    """Read until the pull has begun, has ended, or took too long; what was read, and whether it took too long."""
    stream, output = process.stdout, b""
    if stream is None:
        return output, False
    deadline = time.monotonic() + ANSWER_SECONDS
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        while (left := deadline - time.monotonic()) > 0:
            if selector.select(left):
                chunk = os.read(stream.fileno(), 65536)
                output += chunk
                if not chunk or _BEGUN in output:
                    return output, False
    return output, True
