"""From settings to a model folder that can be loaded: the one call an engine makes.

A model is named by ``MODEL_ARCHIVE`` (a URL), else by ``MODEL_DIR``: a folder, or a name as on a model hub, which is
looked for in the store and in a hub's cache. Nothing is ever fetched by name.
"""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from streamstack_asr.engines.nemotron.facts import ModelError, ModelFacts
from streamstack_asr.engines.nemotron.store import manifest
from streamstack_asr.engines.nemotron.store.download import source
from streamstack_asr.engines.nemotron.store.fetching import Fetcher, verdicts
from streamstack_asr.engines.nemotron.store.folder import TOKENIZER, check_folder
from streamstack_asr.engines.nemotron.store.licenses import License, identifiers, license_of, require_acceptance
from streamstack_asr.engines.nemotron.store.weights import weight_files

if TYPE_CHECKING:
    from streamstack_asr.engines.options import EngineOptions

DEFAULT_STORE: Final = Path("/var/lib/streamstack/models")
_NAME: Final = re.compile(r"(?P<owner>\w[\w.-]*)/(?P<model>\w[\w.-]*)(@(?P<revision>\w[\w.-]*))?", re.ASCII)
_TRUE: Final = frozenset({"1", "true", "yes", "on"})
_FALSE: Final = frozenset({"", "0", "false", "no", "off"})


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """What the environment says of the model.

    ``hub_cache`` is where a model hub's tools keep what they fetched (``HF_HUB_CACHE``, else ``hub`` in ``HF_HOME``).
    """

    model_dir: str = ""
    archive: str = ""
    archive_sha256: str = ""
    licenses_accepted: tuple[str, ...] = ()
    store: Path = DEFAULT_STORE
    offline: bool = False
    hub_cache: Path | None = None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "StoreSettings":
        """Read MODEL_DIR and its like. Raises ModelError for a value that cannot be meant."""

        def value(name: str) -> str:
            return environment.get(name, "").strip()

        offline = value("MODEL_OFFLINE").lower()
        if offline not in _TRUE | _FALSE:
            raise ModelError(f"MODEL_OFFLINE is {offline[:40]!r}, expected true or false")
        return cls(
            model_dir=value("MODEL_DIR"),
            archive=value("MODEL_ARCHIVE"),
            archive_sha256=value("MODEL_ARCHIVE_SHA256"),
            licenses_accepted=identifiers(value("MODEL_LICENSE_ACCEPTED")),
            store=Path(value("MODEL_STORE") or DEFAULT_STORE),
            offline=offline in _TRUE,
            hub_cache=_hub_cache(environment),
        )

    @classmethod
    def of(cls, options: "EngineOptions", environment: Mapping[str, str] = os.environ) -> "StoreSettings":
        """Return the settings of an engine; the hub's cache is the environment's."""
        return cls(
            model_dir=options.model_dir,
            archive=options.model_archive,
            archive_sha256=options.model_archive_sha256,
            licenses_accepted=identifiers(options.model_license_accepted),
            store=Path(options.model_store) if options.model_store else DEFAULT_STORE,
            offline=options.model_offline,
            hub_cache=_hub_cache(environment),
        )

    def as_environment(self) -> dict[str, str]:
        """Return what :meth:`from_environment` reads these settings from."""
        return {
            "MODEL_DIR": self.model_dir,
            "MODEL_ARCHIVE": self.archive,
            "MODEL_ARCHIVE_SHA256": self.archive_sha256,
            "MODEL_LICENSE_ACCEPTED": ",".join(self.licenses_accepted),
            "MODEL_STORE": str(self.store),
            "MODEL_OFFLINE": "true" if self.offline else "false",
            **({} if self.hub_cache is None else {"HF_HUB_CACHE": str(self.hub_cache)}),
        }


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """A model that has passed every check that needs no torch.

    ``name`` is for people; ``digest`` (of its manifest, empty without one) tells one model from another; ``dtypes``
    are those of the weight files, ``weights_bytes`` their size.
    """

    path: Path
    name: str
    facts: ModelFacts
    license: License | None
    digest: str
    parameters: int
    weights_bytes: int
    dtypes: tuple[str, ...]


def locate(settings: StoreSettings, *, fetcher: Fetcher | None = None, full: bool = False) -> ModelFolder:
    """Return the model of the settings, fetched and verified where that is due. Raises ModelError.

    Blocks: for the network at an archive's first use, for the disk when a manifest has not been verified yet (or with
    ``full``). The license is asked for before anything is loaded, and before files are read through.
    """
    try:
        path, name = _find(settings, fetcher or Fetcher(settings.store, settings.offline))
        return _checked(settings, path, name, full=full)
    except OSError as error:  # a folder that may not be looked into
        raise ModelError(f"{error.filename or settings.model_dir}: cannot be read: {error.strerror}") from error


def _checked(settings: StoreSettings, path: Path, name: str, *, full: bool) -> ModelFolder:
    stated = manifest.read(path)
    name = (stated.model if stated else "") or name
    license_ = license_of(path, model=name, stated=stated.license if stated else "")
    require_acceptance(license_, model=name, accepted=settings.licenses_accepted)
    content = check_folder(path)
    if stated is not None:
        _check_complete(path, stated)
        kept = verdicts(settings.store) if _is_folder(settings.store) else None  # a store is nobody's to make
        manifest.verify(path, stated, verdicts=kept, full=full)
    return ModelFolder(
        path=path,
        name=name,
        facts=content.facts,
        license=license_,
        digest=stated.digest if stated else "",
        parameters=content.weights.parameters,
        weights_bytes=content.weights.size_bytes,
        dtypes=content.weights.dtypes,
    )


def _find(settings: StoreSettings, fetcher: Fetcher) -> tuple[Path, str]:
    """Return the folder and a name for it."""
    if settings.archive:
        wanted = source(settings.archive, settings.archive_sha256)
        return fetcher.model(wanted), Path(wanted.shown).name.split(".tar")[0].removesuffix(".zip").removesuffix(".tgz")
    if not settings.model_dir:
        raise ModelError(
            "there is no model: expected MODEL_DIR (a folder, or a name such as "
            "nvidia/nemotron-speech-streaming-en-0.6b in the store) or MODEL_ARCHIVE (a URL)"
        )
    folder, name = Path(settings.model_dir), _NAME.fullmatch(settings.model_dir)
    if folder.is_dir() or name is None:
        return folder, _folder_name(folder)
    tried = list(_by_name(settings, owner=name["owner"], model=name["model"], revision=name["revision"] or ""))
    for path in tried:
        if _is_folder(path):
            return path, f"{name['owner']}/{name['model']}"
    raise ModelError(
        f"model {settings.model_dir} is nowhere here, and is not fetched by name: expected it in "
        f"{' or '.join(map(str, tried))}"
    )


def _by_name(settings: StoreSettings, *, owner: str, model: str, revision: str) -> Iterator[Path]:
    """Yield where a model of that name may lie, the store first."""
    yield settings.store / owner / (f"{model}@{revision}" if revision else model)
    if settings.hub_cache is not None:
        kept = settings.hub_cache / f"models--{owner}--{model}"
        yield kept / "snapshots" / _snapshot(kept, revision or "main")


def _snapshot(kept: Path, revision: str) -> str:
    """Return the commit that a branch or tag stood for when the hub's tools fetched it; a commit is its own name."""
    try:
        commit = (kept / "refs" / revision).read_text().strip()
    except (OSError, UnicodeDecodeError):
        return revision
    return commit if re.fullmatch(r"\w+", commit) else revision


def _folder_name(folder: Path) -> str:
    """Return owner and model where the folder's path ends like a hub's cache, else the folder's own name."""
    cached = re.fullmatch(r"models--(.+?)--(.+)", folder.parent.parent.name)
    if cached and folder.parent.name == "snapshots":
        return f"{cached[1]}/{cached[2]}"
    return folder.resolve().name


def _is_folder(path: Path) -> bool:
    """Whether a folder is there for this user: a home that may not be entered holds none."""
    try:
        return path.is_dir()
    except OSError:
        return False


def _hub_cache(environment: Mapping[str, str]) -> Path:
    """Return where a model hub's tools keep what they fetch: their own variables, in their own order."""
    home = environment.get("HF_HOME") or Path(environment.get("HOME") or "/") / ".cache/huggingface"
    return Path(environment.get("HF_HUB_CACHE") or Path(home) / "hub")


def _check_complete(path: Path, stated: manifest.Manifest) -> None:
    needed = {"config.json", TOKENIZER, *(weights.name for weights in weight_files(path))}
    missing = sorted(needed - stated.files.keys())
    if missing:
        raise ModelError(
            f"{path / manifest.NAME}: does not name {', '.join(missing)}, expected every file of the model"
        )
