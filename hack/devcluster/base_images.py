"""Base images of the product: the public ones where a registry answers, else the like made of Debian packages."""

import io
import platform
import shutil
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from devcluster.cache import Cache, content_key, require_space
from devcluster.commands import run
from devcluster.docker import Docker
from devcluster.errors import DevError
from devcluster.pulling import pulled
from devcluster.steps import Steps

SUITE = "bookworm"
MAKE_GIGABYTES = 1.0
FORMAT = "2"
"""Part of every key; another number where :func:`_write` makes something else of the same recipe."""

PACKAGES = Path(__file__).resolve().parent.parent / "packages"
CERTIFICATES = "etc/ssl/certs/ca-certificates.crt"

MODES = ("auto", "local", "public")

PUBLIC: Mapping[str, str] = {
    "BUILD_IMAGE": "python:3.11-slim-bookworm",
    "BASE_IMAGE": "python:3.11-slim-bookworm",
    "NGINX_IMAGE": "nginx:1.28-alpine",
}
"""Build argument to the public image that its Dockerfiles have as its default."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """A base image made of Debian packages that are unpacked and never configured: no maintainer script runs.

    ``keep`` and ``drop`` are shell patterns of paths from the root, where ``*`` matches ``/`` too; what is not kept is
    not there. ``moved`` gives kept files another place, ``links`` are symbolic links (path to target), ``files``
    further files (path to content), ``path`` the image's PATH.
    """

    name: str
    packages: tuple[str, ...]
    keep: tuple[str, ...]
    drop: tuple[str, ...] = ()
    moved: Mapping[str, str] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    path: str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin"

    @property
    def reference(self) -> str:
        """Name and tag: the hash of the recipe."""
        parts = {name: repr(part) for name, part in asdict(self).items()}
        key = content_key({**parts, "suite": SUITE, "format": FORMAT, "architecture": platform.machine()})
        return f"streamstack/{self.name}:{key}"

    def keeps(self, path: str) -> bool:
        """Whether a packaged file belongs into the image."""
        return any(fnmatchcase(path, pattern) for pattern in self.keep) and not any(
            fnmatchcase(path, pattern) for pattern in self.drop
        )


_DOCUMENTATION = ("usr/share/doc/*", "usr/share/man/*", "usr/share/info/*", "usr/share/locale/*", "usr/share/lintian/*")
_LOADER = ("usr/lib64/ld-*", "usr/lib/ld-*", "usr/lib/*-linux-gnu*/ld-*")
_RELEASE = ("etc/os-release", "usr/lib/os-release", "etc/debian_version")
_NAMES = {
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
    "etc/passwd": "root:x:0:0:root:/root:/sbin/nologin\nstreamstack:x:10001:10001::/tmp:/sbin/nologin\n",
    "etc/group": "root:x:0:\nstreamstack:x:10001:\n",
}

LOCAL: Mapping[str, Recipe] = {
    "BUILD_IMAGE": Recipe(
        name="base-build",
        packages=(
            "base-files",
            "ca-certificates",
            "coreutils",
            "dash",
            "libstdc++6",
            "python3-minimal",
            "python3-venv",
        ),
        keep=("*",),
        drop=("dev/*", "var/*", "etc/apt/*", *_DOCUMENTATION),
        files=_NAMES,
    ),
    "BASE_IMAGE": Recipe(
        name="base-python",
        packages=("base-files", "ca-certificates", "libstdc++6", "python3-minimal", "libpython3-stdlib", "tzdata"),
        keep=(
            "usr/bin/python3*",
            "usr/lib/python3*/*",
            "usr/lib/*-linux-gnu*/lib*.so*",
            "usr/lib/ssl/*",
            "usr/share/zoneinfo/*",
            "etc/ssl/openssl.cnf",
            *_LOADER,
            *_RELEASE,
        ),
        drop=(
            *(f"usr/lib/*-linux-gnu*/lib{name}.so*" for name in ("acl", "apt*", "selinux", "pcre2*", "md", "zstd")),
            "*/gconv/*",
            "usr/lib/python3/*",
            "usr/share/zoneinfo/posix/*",
            "usr/share/zoneinfo/right/*",
        ),
        links={"usr/lib/ssl/cert.pem": f"/{CERTIFICATES}"},
        files=_NAMES,
    ),
    "NGINX_IMAGE": Recipe(
        name="base-nginx",
        packages=("base-files", "ca-certificates", "nginx", "busybox-static"),
        keep=(
            "usr/sbin/nginx",
            "usr/bin/busybox",
            "etc/nginx/mime.types",
            *(
                f"usr/lib/*-linux-gnu*/lib{name}.so*"
                for name in ("c", "crypt", "crypto", "nss_dns", "nss_files", "pcre2-8", "resolv", "ssl", "z")
            ),
            *_LOADER,
            *_RELEASE,
        ),
        # By its name it is wget and nothing else, which is what a health command needs.
        moved={"usr/bin/busybox": "usr/bin/wget"},
        # As in the public image: what nginx writes before it has read its configuration.
        links={"var/log/nginx/access.log": "/dev/stdout", "var/log/nginx/error.log": "/dev/stderr"},
        files=_NAMES,
    ),
}
"""Build argument to what stands in for the public image; those that run hold no shell, dpkg or apt."""


def choose(
    arguments: Iterable[str], *, mode: str, env: Mapping[str, str], docker: Docker, cache: Cache, steps: Steps
) -> dict[str, str]:
    """Return the value of each build argument; what is made locally is there when this returns.

    A value in ``env`` wins. ``mode`` is ``public``, ``local`` or ``auto``: what the engine has, else the public ones
    where a registry answers. Asked once for all arguments, so that Python's two images come from one place.
    """
    wanted = list(dict.fromkeys(arguments))
    given = {name: env[name] for name in wanted if env.get(name)}
    missing = [name for name in wanted if name not in given]
    if not missing:
        return given
    if mode == "local" or (mode == "auto" and not _public_answers(missing, docker=docker, steps=steps)):
        return given | {name: _made(LOCAL[name], docker=docker, cache=cache, steps=steps) for name in missing}
    return given | {name: PUBLIC[name] for name in missing}


def _public_answers(names: Iterable[str], *, docker: Docker, steps: Steps) -> bool:
    absent = [PUBLIC[name] for name in names if docker.image_id(PUBLIC[name]) is None]
    if not absent:
        return True
    if all(docker.image_id(LOCAL[name].reference) is not None for name in names):
        return False
    reason = pulled(docker, absent[0], steps=steps)
    if reason is not None:
        steps.say(f"no public base images, they are made of Debian packages: {reason}")
    return reason is None


def _made(recipe: Recipe, *, docker: Docker, cache: Cache, steps: Steps) -> str:
    if docker.image_id(recipe.reference) is not None:
        return recipe.reference
    require_space(cache.root, MAKE_GIGABYTES, purpose=f"making {recipe.name}")
    name, _, key = recipe.reference.rpartition("/")[2].partition(":")
    with cache.made(name, key) as folder:
        if folder is not None:
            with steps.step(f"making {recipe.name} of Debian packages") as log:
                _unpack(recipe, folder / "packages.tar", log=log)
                _write(recipe, packages=folder / "packages.tar", image=folder / "image.tar")
                (folder / "packages.tar").unlink()
    with steps.step(f"importing {recipe.name}") as log:
        image = cache.place(name, key) / "image.tar"
        docker.run("import", "--change", f"ENV PATH={recipe.path}", image, recipe.reference, log=log)
    return recipe.reference


def _unpack(recipe: Recipe, archive: Path, *, log: Path) -> None:
    if shutil.which("mmdebstrap") is None:
        if shutil.which("apt-get") is None:
            raise DevError(
                "no image registry answers, and this is no Debian machine on which the base images could be made",
                do="docker load the public ones, or name others you have: "
                + ", ".join(f"{argument} (like {image})" for argument, image in PUBLIC.items()),
            )
        run((PACKAGES, "mmdebstrap"), log=log, do="apt-get install mmdebstrap, as root")
    run(
        ("mmdebstrap", "--variant=extract", f"--include={','.join(recipe.packages)}", SUITE, archive),
        log=log,
        do=f"Debian's {SUITE} has to answer, and its keys be here (package debian-archive-keyring); then read the log",
    )


def _write(recipe: Recipe, *, packages: Path, image: Path) -> None:
    """Write the image's files, from an archive of unpacked packages: only what the recipe keeps, /usr merged."""
    with tarfile.open(packages) as source, tarfile.open(image, "w") as target:
        for folder in ("tmp", "var/tmp"):
            target.addfile(_member(folder, kind=tarfile.DIRTYPE, mode=0o1777))
        # Mount points, and the folders that Dockerfiles put things in.
        for folder in (
            "dev",
            "proc",
            "sys",
            "run",
            "opt",
            "root",
            "etc",
            "usr/bin",
            "usr/sbin",
            "usr/lib",
            "usr/lib64",
            "mnt",
            "var/lib",
        ):
            target.addfile(_member(folder, kind=tarfile.DIRTYPE, mode=0o755))
        for path in ("bin", "sbin", "lib", "lib64"):
            target.addfile(_member(path, kind=tarfile.SYMTYPE, link=f"usr/{path}"))
        for path, link in recipe.links.items():
            target.addfile(_member(path, kind=tarfile.SYMTYPE, link=link))
        for path, text in {**recipe.files, CERTIFICATES: _certificates(source)}.items():
            _add_text(target, path, text)
        for member in source:
            _copy(member, recipe=recipe, source=source, target=target)


def _copy(member: tarfile.TarInfo, *, recipe: Recipe, source: tarfile.TarFile, target: tarfile.TarFile) -> None:
    path = merged(member.name)
    if path in recipe.files or path in recipe.links or not recipe.keeps(path):
        return
    path = recipe.moved.get(path, path)
    if member.issym():
        target.addfile(_member(path, kind=tarfile.SYMTYPE, link=member.linkname))
    elif member.isfile() or member.islnk():  # a hard link is written as a file: its other name may not be kept
        content = source.extractfile(member)
        if content is None:
            raise DevError(f"{member.name} in a Debian package cannot be read", do="report this")
        data = content.read()
        target.addfile(_member(path, mode=member.mode & 0o755, size=len(data)), io.BytesIO(data))


def merged(name: str) -> str:
    """Return where a packaged path is in an image whose /bin, /sbin and /lib are links into /usr."""
    path = name.removeprefix("./").strip("/")
    return f"usr/{path}" if path.partition("/")[0] in {"bin", "sbin", "lib", "lib64"} else path


def _certificates(source: tarfile.TarFile) -> str:
    """What update-ca-certificates(8) makes: all authorities in one file."""
    found = [
        source.extractfile(member)
        for member in sorted(source.getmembers(), key=lambda member: member.name)
        if fnmatchcase(merged(member.name), "usr/share/ca-certificates/*.crt")
    ]
    return "".join(file.read().decode("ascii") for file in found if file is not None)


def _add_text(target: tarfile.TarFile, path: str, text: str) -> None:
    data = text.encode()
    target.addfile(_member(path, size=len(data)), io.BytesIO(data))


def _member(
    path: str, *, kind: bytes = tarfile.REGTYPE, mode: int = 0o644, link: str = "", size: int = 0
) -> tarfile.TarInfo:
    """Describe an entry of root's, without a time: the same recipe and packages make the same layer."""
    entry = tarfile.TarInfo(path)
    entry.type, entry.mode, entry.linkname, entry.size = kind, mode, link, size
    return entry
