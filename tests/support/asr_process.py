"""A real ASR server as a process of its own, on ports of the kernel's choice."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from support.service import ServiceProcess, service, write_credential


class AsrProcess(ServiceProcess):
    """A warm server: ``asr`` is ``host:port``, ``internal`` an ``http://`` address."""

    @property
    def asr(self) -> str:
        return self.addresses["asr"]

    @property
    def internal(self) -> str:
        return self.addresses["internal"]

    @property
    def authorization(self) -> str:
        return f"Bearer {self.token}"

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        return (("authorization", self.authorization),)


@asynccontextmanager
async def asr_process(
    folder: Path,
    *,
    engine: str = "scripted",
    models: str = "en-default",
    slots: int = 32,
    port: int = 0,
    stop_grace_seconds: float = 10.0,
    flags: tuple[str, ...] = (),
    environment: Mapping[str, str] | None = None,
    credential_file: Path | None = None,
) -> AsyncIterator[AsrProcess]:
    """Start ``python -m streamstack_asr``, wait until it is warm, and stop it with SIGTERM at the end.

    ``folder`` takes the log and, unless ``credential_file`` is given, the credential (use pytest's ``tmp_path``).
    """
    arguments = (
        *("--host", "127.0.0.1", "--server-port", str(port), "--internal-port", "0"),
        *("--engine", engine, "--models", models, "--max-open-streams", str(slots)),
        *("--stop-grace-seconds", str(stop_grace_seconds), *flags),
    )
    settings = {
        "STREAMSTACK_CREDENTIAL_FILE": str(credential_file or write_credential(folder)),
        **(environment or {}),
    }
    async with service(AsrProcess, "streamstack_asr", *arguments, folder=folder, environment=settings) as server:
        await server.announced()
        yield server
        await server.stop()
