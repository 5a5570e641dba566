"""The product's own images: which there are, and how `docker build` is asked for them."""

import os
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from devcluster import base_images
from devcluster.cache import Cache
from devcluster.commands import attempt
from devcluster.docker import Docker
from devcluster.errors import DevError
from devcluster.steps import Steps

ROOT = Path(__file__).resolve().parent.parent.parent
REPOSITORY = "streamstack"
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy")

PYTHON = ("BUILD_IMAGE", "BASE_IMAGE")
NGINX = ("NGINX_IMAGE",)
"""Build arguments that name base images."""


@dataclass(frozen=True, slots=True)
class ProductImage:
    """One image: its Dockerfile and target, the base images it asks for, and what it is made of.

    ``sources`` are the paths that decide its content. ``large``: built only when it is named or all are asked for;
    ``named``: only when it is named, because it needs something that not everybody has. ``options`` are build arguments
    that are taken from the environment where they are set there.
    """

    name: str
    folder: str
    sources: tuple[str, ...]
    bases: tuple[str, ...] = PYTHON
    target: str | None = None
    large: bool = False
    named: bool = False
    options: tuple[str, ...] = ()


def _python(name: str, folder: str, *, pins: str, target: str | None = None) -> ProductImage:
    sources = (folder, "images/common", "images/python", f"requirements/{pins}.txt")
    return ProductImage(name, folder, sources, target=target)


def _nemotron(name: str, *, target: str, options: tuple[str, ...] = (), named: bool = False) -> ProductImage:
    plain = _python(name, "images/asr", pins="nemotron", target=target)
    sources = (*plain.sources, *(("requirements/nemotron-cpu.txt",) if named else ()))
    return replace(plain, sources=sources, large=True, named=named, options=("MODEL_DIR", *options))


IMAGES = {
    image.name: image
    for image in (
        _python("gateway", "images/gateway", pins="gateway"),
        _python("license-proxy", "images/license-proxy", pins="license-proxy"),
        _python("license-authority", "images/license-authority", pins="license-authority"),
        _python("asr-sphinx", "images/asr", pins="sphinx", target="sphinx"),
        _nemotron("asr-nemotron", target="nemotron"),
        _nemotron("asr-nemotron-cpu", target="nemotron-cpu", options=("TORCH_INDEX", "TORCH_SHA256"), named=True),
        ProductImage("asr-lb", "images/asr-lb", ("images/asr-lb",), bases=NGINX),
        _python("operator", "operator", pins="operator"),
    )
}
"""All of them, in the order they are built; another image is another line."""


@dataclass(frozen=True, slots=True)
class Built:
    """An image in the engine: ``name:tag``, the digest of its configuration, and its size unpacked."""

    reference: str
    image_id: str
    size_bytes: int


def version(root: Path = ROOT) -> str:
    """Return the product's version, which is every image's tag."""
    with (root / "pyproject.toml").open("rb") as file:
        found: str = tomllib.load(file)["project"]["version"]
    return found


def reference(name: str, root: Path = ROOT) -> str:
    """Return an image's name and tag."""
    return f"{REPOSITORY}/{_image(name).name}:{version(root)}"


def selected(names: Sequence[str], *, everything: bool) -> list[ProductImage]:
    """Return the images that are asked for: the named ones, else all but the large, or all that need no more."""
    if names:
        return [_image(name) for name in dict.fromkeys(names)]
    return [image for image in IMAGES.values() if not image.named and (everything or not image.large)]


def build(
    images: Iterable[ProductImage],
    *,
    docker: Docker,
    cache: Cache,
    steps: Steps,
    mode: str = "auto",
    env: Mapping[str, str] = os.environ,
    root: Path = ROOT,
) -> list[Built]:
    """Build images from the tree at ``root``; ``mode`` and ``env`` as for :func:`base_images.choose`."""
    wanted = list(images)
    arguments = [argument for image in wanted for argument in image.bases]
    bases = base_images.choose(arguments, mode=mode, env=env, docker=docker, cache=cache, steps=steps)
    tag = version(root)
    built = []
    for image in wanted:
        named = f"{REPOSITORY}/{image.name}:{tag}"
        with steps.step(f"building {named}") as log:
            labels = {"VERSION": tag, "REVISION": revision(image.sources, root)}
            docker.build("--tag", named, *command(image, bases=bases, env=env, labels=labels, root=root), log=log)
        built.append(_inspect(named, docker))
    return built


def command(
    image: ProductImage, *, bases: Mapping[str, str], env: Mapping[str, str], labels: Mapping[str, str], root: Path
) -> list[str]:
    """Return what `docker build` is given beside the tag; ``labels`` are the build arguments that become labels."""
    options = {name: env[name] for name in image.options if env.get(name)}
    arguments = {name: bases[name] for name in image.bases} | options | dict(labels)
    certificates = extra_certificates(env)
    return [
        "--progress=plain",
        *("--file", str(root / image.folder / "Dockerfile")),
        *(("--target", image.target) if image.target else ()),
        *(part for name, value in arguments.items() for part in ("--build-arg", f"{name}={value}")),
        *(part for name in PROXIES if env.get(name) for part in ("--build-arg", f"{name}={env[name]}")),
        *(("--secret", f"id=ca,src={certificates}") if certificates else ()),
        str(root),
    ]


def extra_certificates(env: Mapping[str, str]) -> Path | None:
    """Return the authorities that pip has to trust during a build: STREAMSTACK_EXTRA_CA, else what pip here trusts."""
    for name in ("STREAMSTACK_EXTRA_CA", "PIP_CERT", "SSL_CERT_FILE"):
        if env.get(name):
            path = Path(env[name])
            if not path.is_file():
                raise DevError(f"{name} names {path}, which is no file", do=f"correct {name}, or unset it")
            return path.absolute()
    return None


def revision(sources: Sequence[str], root: Path) -> str:
    """Return the last commit that changed an image's sources, so that other pieces' commits leave its digest alone.

    With ``-modified`` where they differ from it; ``unknown`` outside a git checkout.
    """
    git = ("git", "-C", root)
    status, commit, _ = attempt((*git, "log", "-1", "--format=%H", "--", *sources))
    if status != 0 or not commit.strip():
        return "unknown"
    changed = attempt((*git, "status", "--porcelain", "--", *sources))[1]
    return f"{commit.strip()}-modified" if changed.strip() else commit.strip()


def present(docker: Docker, root: Path = ROOT) -> list[Built]:
    """Return the product's images that the engine has."""
    references = [reference(name, root) for name in IMAGES]
    return [_inspect(named, docker) for named in references if docker.image_id(named) is not None]


def table(images: Iterable[Built]) -> str:
    """Lay out images for people: name and tag, size in megabytes (1e6 bytes), id."""
    rows = [(image.reference, f"{image.size_bytes / 1e6:.1f} MB", image.image_id[:19]) for image in images]
    widths = [max((len(row[column]) for row in rows), default=0) for column in (0, 1)]
    return "\n".join(f"{name:<{widths[0]}}  {size:>{widths[1]}}  {image_id}" for name, size, image_id in rows)


def _image(name: str) -> ProductImage:
    if name not in IMAGES:
        raise DevError(f"there is no image {name!r}", do=f"name one of {', '.join(IMAGES)}")
    return IMAGES[name]


def _inspect(named: str, docker: Docker) -> Built:
    image_id, size = docker.capture("image", "inspect", "--format", "{{.Id}} {{.Size}}", named).split()
    return Built(named, image_id, int(size))
