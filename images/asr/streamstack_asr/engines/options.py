"""What an engine is told when it is made, the same for every engine: each takes what concerns it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """Choices of whoever runs the server; an empty string is "not given", and zero lets the engine choose.

    ``models`` are the routing names served, ``workers`` the processes that decode, ``slots`` the sessions served at
    once. Where the model comes from: ``model_dir`` (a folder, or its name in the store) or ``model_archive`` (a URL,
    with ``model_archive_sha256``), kept in ``model_store``, used under the licenses named in
    ``model_license_accepted``, without a network when ``model_offline``. ``device`` is auto, cpu or cuda; ``precision``
    auto, bf16, fp16 or fp32. ``chunk_ms`` is the step in ms of every routing name (``560``), or of each
    (``en-default=560,en-fast=160``).
    """

    models: tuple[str, ...]
    workers: int = 0
    slots: int = 32
    model_dir: str = ""
    model_archive: str = ""
    model_archive_sha256: str = ""
    model_license_accepted: str = ""
    model_store: str = ""
    model_offline: bool = False
    device: str = "auto"
    precision: str = "auto"
    chunk_ms: str = ""
