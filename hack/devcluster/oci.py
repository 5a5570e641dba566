"""Container images written without an engine: one tar file in OCI image layout (image-spec, image-layout.md)."""

import hashlib
import io
import json
import platform
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
"""The kernel's names of architectures that clusters run on, and the names container images use."""

_INDEX = "application/vnd.oci.image.index.v1+json"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar"
# containerd names an imported image by this annotation (containerd/images/annotations.go).
_NAME = "io.containerd.image.name"
PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True)
class Image:
    """What an image holds: programs by their path inside it, on top of tar files that are layers as they are."""

    reference: str
    files: Mapping[str, Path]
    links: Mapping[str, str] = field(default_factory=dict)
    layers: Sequence[Path] = ()
    entrypoint: Sequence[str] = field(default=())


def write_archive(images: Sequence[Image], archive: Path) -> None:
    """Write images into one tar file that `ctr images import` reads; the same content gives the same bytes."""
    with tarfile.open(archive, "w") as out:
        written: set[str] = set()
        manifests = []
        for image in images:
            descriptor = _write_image(image, out, scratch=archive.with_suffix(".layer"), written=written)
            manifests.append({**descriptor, "annotations": {_NAME: image.reference}})
        index = {"schemaVersion": 2, "mediaType": _INDEX, "manifests": manifests}
        add_bytes(out, "index.json", json.dumps(index).encode())
        add_bytes(out, "oci-layout", b'{"imageLayoutVersion":"1.0.0"}')


def _write_image(image: Image, out: tarfile.TarFile, *, scratch: Path, written: set[str]) -> dict[str, object]:
    write_layer(image.files, scratch, links=image.links)
    layers = [_write_blob(layer, out, written=written, media_type=_LAYER) for layer in (*image.layers, scratch)]
    scratch.unlink()
    config = {
        "architecture": ARCHITECTURES[platform.machine()],
        "os": "linux",
        "config": {"Env": [PATH], "Entrypoint": list(image.entrypoint)},
        "rootfs": {"type": "layers", "diff_ids": [layer["digest"] for layer in layers]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": _MANIFEST,
        "config": _write_json(config, out, written=written, media_type=_CONFIG),
        "layers": layers,
    }
    return _write_json(manifest, out, written=written, media_type=_MANIFEST)


def write_layer(files: Mapping[str, Path], layer: Path, *, links: Mapping[str, str]) -> None:
    """Write programs (mode 755, owned by root), links to them and an empty `/tmp` into a tar file."""
    with tarfile.open(layer, "w") as out:
        add_folder(out, "tmp", mode=0o1777)
        for target, source in sorted(files.items()):
            add_file(out, target.lstrip("/"), source)
        for name, target in sorted(links.items()):
            add_link(out, name.lstrip("/"), target)


def add_folder(out: tarfile.TarFile, name: str, *, mode: int = 0o755) -> None:
    """Add a folder of root's."""
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode = tarfile.DIRTYPE, mode
    out.addfile(entry)


def add_link(out: tarfile.TarFile, name: str, target: str) -> None:
    """Add a symbolic link."""
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = tarfile.SYMTYPE, target
    out.addfile(entry)


def add_bytes(out: tarfile.TarFile, name: str, content: bytes, *, mode: int = 0o644) -> None:
    """Add a file with the content given."""
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), mode
    out.addfile(entry, io.BytesIO(content))


def add_file(out: tarfile.TarFile, name: str, source: Path, *, mode: int = 0o755) -> None:
    """Add a file of this machine; its owner and times stay behind."""
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = source.stat().st_size, mode
    with source.open("rb") as content:
        out.addfile(entry, content)


def _write_json(
    content: Mapping[str, object], out: tarfile.TarFile, *, written: set[str], media_type: str
) -> dict[str, object]:
    data = json.dumps(content, sort_keys=True).encode()
    digest = hashlib.sha256(data).hexdigest()
    if digest not in written:
        written.add(digest)
        add_bytes(out, f"blobs/sha256/{digest}", data)
    return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data)}


def _write_blob(blob: Path, out: tarfile.TarFile, *, written: set[str], media_type: str) -> dict[str, object]:
    with blob.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    if digest not in written:
        written.add(digest)
        add_file(out, f"blobs/sha256/{digest}", blob, mode=0o644)
    return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": blob.stat().st_size}
