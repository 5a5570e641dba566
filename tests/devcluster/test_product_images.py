import re
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest

from devcluster import base_images, product_images
from devcluster.errors import DevError

ROOT = product_images.ROOT
BASES = {"BUILD_IMAGE": "build:1", "BASE_IMAGE": "base:1", "NGINX_IMAGE": "nginx:1"}
LABELS = {"VERSION": "1.2.3", "REVISION": "abc"}


def command(name: str, **env: str) -> list[str]:
    return product_images.command(product_images.IMAGES[name], bases=BASES, env=env, labels=LABELS, root=Path("/tree"))


def pairs(words: list[str], option: str) -> list[str]:
    return [value for flag, value in pairwise(words) if flag == option]


def git(root: Path, *arguments: str) -> str:
    environment = {
        f"GIT_{role}_{what}": "test@example.invalid" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
    }
    return subprocess.run(
        ["git", "-C", root, *arguments],
        check=True,
        capture_output=True,
        text=True,
        env={"PATH": "/usr/bin:/bin", **environment},
    ).stdout.strip()


@pytest.mark.parametrize("image", product_images.IMAGES.values(), ids=product_images.IMAGES)
def test_every_image_has_its_dockerfile_target_and_sources(image: product_images.ProductImage) -> None:
    text = (ROOT / image.folder / "Dockerfile").read_text()
    stages = re.findall(r"^FROM \S+ AS (\S+)$", text, re.MULTILINE)
    assert image.target is None or image.target in stages
    for source in image.sources:
        assert (ROOT / source).exists(), source


@pytest.mark.parametrize("image", product_images.IMAGES.values(), ids=product_images.IMAGES)
def test_what_a_dockerfile_takes_from_the_tree_is_among_its_sources(image: product_images.ProductImage) -> None:
    text = (ROOT / image.folder / "Dockerfile").read_text()
    taken = {*re.findall(r"^COPY (?!--from)(\S+)", text, re.MULTILINE), *re.findall(r"source=([^,\s]+)", text)}
    others = {"images/wheelhouse", *(f"requirements/{pins}.txt" for pins in ("sphinx", "nemotron", "nemotron-cpu"))}
    unknown = {path for path in taken if not path.startswith(image.sources)}
    assert unknown <= others
    assert image.target is None or f"requirements/{image.target}.txt" in image.sources


@pytest.mark.parametrize("image", product_images.IMAGES.values(), ids=product_images.IMAGES)
def test_a_dockerfile_builds_by_hand_on_the_public_images(image: product_images.ProductImage) -> None:
    text = (ROOT / image.folder / "Dockerfile").read_text()
    assert dict(re.findall(r"^ARG (\w+_IMAGE)=(\S+)$", text, re.MULTILINE)) == {
        name: base_images.PUBLIC[name] for name in image.bases
    }
    assert "syntax=" not in text.splitlines()[0]
    assert not re.search(r"^(ENTRYPOINT|RUN|\s+CMD) (?!\[|--mount)", text, re.MULTILINE), "a shell is needed"


def test_the_context_leaves_out_all_but_what_images_are_made_of() -> None:
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert lines[0] == "*"
    allowed = {line.removeprefix("!") for line in lines if line.startswith("!")}
    sources = {source for image in product_images.IMAGES.values() for source in image.sources}
    assert {source.partition("/")[0] for source in sources} <= allowed


def test_all_but_the_large_are_built_unless_asked_for() -> None:
    usual = [image.name for image in product_images.selected([], everything=False)]
    assert "asr-nemotron" not in usual
    assert {"gateway", "license-proxy", "license-authority", "asr-sphinx", "asr-lb"} <= set(usual)
    everything = [image.name for image in product_images.selected([], everything=True)]
    assert everything == [name for name in product_images.IMAGES if name != "asr-nemotron-cpu"]
    named = product_images.selected(["asr-nemotron-cpu"], everything=False)
    assert [image.target for image in named] == ["nemotron-cpu"]
    named = product_images.selected(["asr-lb", "asr-nemotron", "asr-lb"], everything=False)
    assert [image.name for image in named] == ["asr-lb", "asr-nemotron"]


def test_an_image_there_is_not_is_named_with_those_there_are() -> None:
    with pytest.raises(DevError, match=r"(?s)no image 'asr'.*asr-sphinx"):
        product_images.selected(["asr"], everything=False)


def test_a_tag_is_the_products_version(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[project]\nversion = "7.8.9"\n')
    assert product_images.reference("gateway", tmp_path) == "streamstack/gateway:7.8.9"


def test_a_build_is_told_bases_labels_and_target() -> None:
    words = command("asr-nemotron")
    assert pairs(words, "--build-arg") == [
        *("BUILD_IMAGE=build:1", "BASE_IMAGE=base:1", "VERSION=1.2.3", "REVISION=abc"),
    ]
    assert pairs(words, "--target") == ["nemotron"]
    assert pairs(words, "--file") == ["/tree/images/asr/Dockerfile"]
    assert words[-1] == "/tree"
    assert "--secret" not in words


def test_what_an_image_may_be_told_is_taken_from_the_environment() -> None:
    told = {"MODEL_DIR": "models/small", "TORCH_INDEX": "https://wheels.test/cpu", "TORCH_SHA256": "ab"}
    arguments = pairs(command("asr-nemotron", **told), "--build-arg")
    assert arguments[2:] == ["MODEL_DIR=models/small", "VERSION=1.2.3", "REVISION=abc"]
    arguments = pairs(command("asr-nemotron-cpu", **told), "--build-arg")
    assert arguments[2:5] == [f"{name}={value}" for name, value in told.items()]
    assert not any("MODEL_DIR" in argument for argument in pairs(command("asr-sphinx", **told), "--build-arg"))


def test_a_build_of_the_balancer_wants_nginx_and_no_python() -> None:
    words = command("asr-lb")
    assert pairs(words, "--build-arg")[0] == "NGINX_IMAGE=nginx:1"
    assert not any("python" in word or "BASE_IMAGE" in word for word in words)


def test_proxies_of_this_machine_are_passed_on() -> None:
    assert "HTTPS_PROXY=http://proxy:3128" in pairs(command("gateway", HTTPS_PROXY="http://proxy:3128"), "--build-arg")


@pytest.mark.parametrize("first", ["STREAMSTACK_EXTRA_CA", "PIP_CERT", "SSL_CERT_FILE"])
def test_an_extra_authority_is_a_secret_of_the_build(first: str, tmp_path: Path) -> None:
    own, other = tmp_path / "own.pem", tmp_path / "other.pem"
    own.touch()
    other.touch()
    names = ["STREAMSTACK_EXTRA_CA", "PIP_CERT", "SSL_CERT_FILE"]
    later = {name: str(other) for name in names[names.index(first) + 1 :]}
    assert pairs(command("gateway", **{first: str(own)}, **later), "--secret") == [f"id=ca,src={own}"]


def test_an_extra_authority_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DevError, match=r"STREAMSTACK_EXTRA_CA names .*no-such.pem, which is no file"):
        command("gateway", STREAMSTACK_EXTRA_CA=str(tmp_path / "no-such.pem"))


def test_a_revision_is_the_last_commit_of_an_images_own_sources(tmp_path: Path) -> None:
    assert product_images.revision(["own"], tmp_path) == "unknown"
    git(tmp_path, "init", "--quiet")
    for path in ("own", "other"):
        (tmp_path / path).mkdir()
        (tmp_path / path / "file").write_text("1")
        git(tmp_path, "add", path)
        git(tmp_path, "commit", "--quiet", "-m", path)
    own, other = git(tmp_path, "log", "--reverse", "--format=%H").split()
    assert product_images.revision(["own"], tmp_path) == own
    assert product_images.revision(["other"], tmp_path) == other
    (tmp_path / "other/file").write_text("2")
    assert product_images.revision(["own"], tmp_path) == own
    assert product_images.revision(["other"], tmp_path) == f"{other}-modified"


def test_a_list_shows_sizes_in_columns() -> None:
    built = [
        product_images.Built("streamstack/asr-lb:1", "sha256:" + "a" * 64, 12_345_678),
        product_images.Built("streamstack/asr-sphinx:1", "sha256:" + "b" * 64, 212_345_678),
    ]
    assert product_images.table(built).splitlines() == [
        "streamstack/asr-lb:1       12.3 MB  sha256:aaaaaaaaaaaa",
        "streamstack/asr-sphinx:1  212.3 MB  sha256:bbbbbbbbbbbb",
    ]
    assert product_images.table([]) == ""
