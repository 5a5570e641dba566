import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from streamstack_asr.engines.nemotron.facts import ModelError
from streamstack_asr.engines.nemotron.store import ModelFolder, StoreSettings, locate, manifest
from streamstack_asr.engines.nemotron.store.__main__ import main
from streamstack_asr.engines.options import EngineOptions
from support import model_folders

ENGLISH = "nvidia/nemotron-speech-streaming-en-0.6b"
MULTILINGUAL = "nvidia/nemotron-3.5-asr-streaming-0.6b"


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


def settings(store: Path, model: Path | str, *accepted: str, hub: Path | None = None) -> StoreSettings:
    return StoreSettings(model_dir=str(model), store=store, licenses_accepted=accepted, hub_cache=hub)


def refused(given: StoreSettings) -> str:
    with pytest.raises(ModelError) as raised:
        locate(given)
    return str(raised.value)


def card(folder: Path, head: str) -> None:
    (folder / "README.md").write_text(f"---\nlanguage: en\n{head}\n---\n# A model\n")


def test_a_folder_is_a_model(store: Path, tmp_path: Path) -> None:
    folder = model_folders.write_model(tmp_path / "small")
    found = locate(settings(store, folder))
    assert isinstance(found, ModelFolder)
    assert (found.path, found.name, found.license, found.digest) == (folder, "small", None, "")
    assert (found.dtypes, found.facts.vocab_size) == (("F16",), model_folders.VOCABULARY)


def test_no_model_at_all_says_what_to_set(store: Path) -> None:
    said = refused(StoreSettings(store=store))
    assert "expected MODEL_DIR (a folder, or a name such as nvidia/nemotron-speech-streaming-en-0.6b" in said
    assert "or MODEL_ARCHIVE (a URL)" in said


def test_a_folder_that_is_not_there_is_named(store: Path, tmp_path: Path) -> None:
    assert refused(settings(store, tmp_path / "none")) == f"{tmp_path / 'none'}: missing, expected a model folder"


@pytest.mark.parametrize("name", [ENGLISH, MULTILINGUAL])
def test_a_published_checkpoint_is_found_by_name_and_its_license_has_to_be_accepted(store: Path, name: str) -> None:
    model_folders.write_model(store / name)
    said = refused(settings(store, name))
    identifier = {ENGLISH: "NVIDIA-Open-Model-License", MULTILINGUAL: "OpenMDW-1.1"}[name]
    assert f"model {name} is under the" in said
    assert said.endswith(f"set MODEL_LICENSE_ACCEPTED={identifier}")
    assert "you have to accept" in refused(settings(store, name, "MIT", "Apache-2.0"))
    found = locate(settings(store, name, "MIT", identifier.lower()))
    assert (found.path, found.name) == (store / name, name)
    assert found.license is not None
    assert found.license.identifier == identifier


def test_the_license_is_asked_for_before_the_files_are_looked_at(store: Path) -> None:
    folder = model_folders.write_model(store / ENGLISH)
    (folder / "model.safetensors").write_bytes(b"")
    assert "you have to accept" in refused(settings(store, ENGLISH))


def in_hub(hub: Path, name: str, commit: str = "a1b2c3", branch: str = "main") -> Path:
    """Lay a model out as a hub's tools do: files are links to blobs, a branch is a file with a commit."""
    kept = hub / f"models--{name.replace('/', '--')}"
    snapshot = model_folders.write_model(kept / "snapshots" / commit)
    (kept / "blobs").mkdir()
    for path in list(snapshot.iterdir()):
        path.rename(kept / "blobs" / path.name)
        path.symlink_to(Path("../../blobs") / path.name)
    (kept / "refs").mkdir()
    (kept / "refs" / branch).write_text(commit)
    return snapshot


def test_a_model_in_a_hubs_cache_is_found_by_name_and_revision(store: Path, tmp_path: Path) -> None:
    snapshot = in_hub(tmp_path, "owner/small")
    found = locate(settings(store, "owner/small", hub=tmp_path))
    assert (found.path, found.name) == (snapshot, "owner/small")
    assert locate(settings(store, "owner/small@a1b2c3", hub=tmp_path)).path == snapshot
    assert locate(settings(store, snapshot, hub=tmp_path)).name == "owner/small"
    said = refused(settings(store, "owner/small@other", hub=tmp_path))
    assert "owner/small@other is nowhere here, and is not fetched by name" in said
    assert str(tmp_path / "models--owner--small/snapshots/other") in said


def test_the_store_is_before_a_hubs_cache(store: Path, tmp_path: Path) -> None:
    in_hub(tmp_path, "owner/small")
    model_folders.write_model(store / "owner/small")
    assert locate(settings(store, "owner/small", hub=tmp_path)).path == store / "owner/small"


@pytest.mark.parametrize("name", ["../../etc", "owner/..", "a/b/c", "/owner/small", "owner/small@../x", "owner"])
def test_a_name_leads_nowhere_but_into_the_store_and_the_cache(store: Path, tmp_path: Path, name: str) -> None:
    said = refused(settings(store, name, hub=tmp_path))
    assert "expected a model folder" in said
    assert str(store) not in said


@pytest.fixture
def locked(tmp_path: Path) -> Iterator[Path]:
    """A folder that this process may not enter; root becomes nobody for it."""
    folder = tmp_path / "locked"
    folder.mkdir()
    folder.chmod(0)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield folder
    finally:
        os.seteuid(user)
        folder.chmod(0o755)


def test_a_folder_that_may_not_be_entered_is_named(store: Path, locked: Path) -> None:
    assert f"{locked}/small: cannot be read: Permission denied" in refused(settings(store, locked / "small"))
    assert f"{locked}: cannot be read" in refused(settings(store, locked))


def test_a_cache_that_may_not_be_entered_holds_no_model(store: Path, locked: Path) -> None:
    assert "owner/small is nowhere here" in refused(settings(store, "owner/small", hub=locked))


@pytest.mark.parametrize(
    ("head", "identifier"),
    [
        ("license: mit", None),
        ("license: Apache-2.0", None),
        ("license: other\nlicense_name: nvidia-open-model-license", "NVIDIA-Open-Model-License"),
        ('license: "openmdw-1.1"', "OpenMDW-1.1"),
        ("license: other\nlicense_name: Some Research License", "Some-Research-License"),
        ("license: cc-by-nc-4.0  # not for trade", "cc-by-nc-4.0"),
        ("tags: [asr]", None),
    ],
)
def test_a_card_says_which_license_a_model_is_under(
    store: Path, tmp_path: Path, head: str, identifier: str | None
) -> None:
    folder = model_folders.write_model(tmp_path / "small")
    card(folder, head)
    if identifier is None:
        locate(settings(store, folder))
    else:
        assert f"MODEL_LICENSE_ACCEPTED={identifier}" in refused(settings(store, folder))
        locate(settings(store, folder, identifier))


def test_a_manifest_says_it_before_a_card(store: Path, tmp_path: Path) -> None:
    folder = model_folders.write_model(tmp_path / "small")
    card(folder, "license: mit")
    made = manifest.make(folder, model="owner/small", license_="OpenMDW-1.1")
    (folder / manifest.NAME).write_bytes(made.as_json())
    assert "model owner/small is under the OpenMDW License" in refused(settings(store, folder))
    found = locate(settings(store, folder, "OpenMDW-1.1"))
    assert (found.name, found.digest) == ("owner/small", made.digest)


def test_a_manifest_that_leaves_the_weights_out_vouches_for_nothing(store: Path, tmp_path: Path) -> None:
    folder = model_folders.write_model(tmp_path / "small")
    made = json.loads(manifest.make(folder).as_json())
    del made["files"]["model.safetensors"]
    model_folders.write_json(folder / manifest.NAME, made)
    assert "does not name model.safetensors, expected every file" in refused(settings(store, folder))


def test_corrupt_weights_are_refused_also_after_they_were_right_once(store: Path, tmp_path: Path) -> None:
    folder = model_folders.write_model(tmp_path / "small")
    (folder / manifest.NAME).write_bytes(manifest.make(folder).as_json())
    locate(settings(store, folder))
    assert not store.exists()
    store.mkdir()
    locate(settings(store, folder))
    assert len(list(store.glob(".streamstack/verdicts/*.json"))) == 1
    content = bytearray((folder / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (folder / "model.safetensors").write_bytes(content)
    assert "model.safetensors: SHA-256 is" in refused(settings(store, folder))


def test_settings_come_from_the_environment(tmp_path: Path) -> None:
    found = StoreSettings.from_environment(
        {
            "MODEL_DIR": " owner/small ",
            "MODEL_ARCHIVE": "https://models.test/a.tar",
            "MODEL_ARCHIVE_SHA256": "ab",
            "MODEL_STORE": str(tmp_path),
            "MODEL_OFFLINE": "TRUE",
            "MODEL_LICENSE_ACCEPTED": "MIT, OpenMDW-1.1",
            "HF_HOME": "/hub",
        }
    )
    assert found == StoreSettings(
        model_dir="owner/small",
        archive="https://models.test/a.tar",
        archive_sha256="ab",
        store=tmp_path,
        offline=True,
        licenses_accepted=("MIT", "OpenMDW-1.1"),
        hub_cache=Path("/hub/hub"),
    )
    assert StoreSettings.from_environment(found.as_environment()) == found
    plain = StoreSettings.from_environment({"HOME": "/tmp/home"})  # noqa: S108 - never made
    assert plain == StoreSettings(hub_cache=Path("/tmp/home/.cache/huggingface/hub"))  # noqa: S108
    assert StoreSettings.from_environment({"HF_HUB_CACHE": "/cache"}).hub_cache == Path("/cache")
    with pytest.raises(ModelError, match="MODEL_OFFLINE is 'maybe', expected true or false"):
        StoreSettings.from_environment({"MODEL_OFFLINE": "maybe"})


def test_settings_come_from_an_engines_options(store: Path) -> None:
    options = EngineOptions(
        models=("en-default",),
        model_dir="owner/small",
        model_store=str(store),
        model_license_accepted="MIT OpenMDW-1.1",
        model_offline=True,
    )
    assert StoreSettings.of(options, {"HF_HOME": "/hub"}) == StoreSettings(
        model_dir="owner/small",
        store=store,
        licenses_accepted=("MIT", "OpenMDW-1.1"),
        offline=True,
        hub_cache=Path("/hub/hub"),
    )
    assert StoreSettings.of(EngineOptions(models=("a",))).store == StoreSettings().store


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, store: Path) -> pytest.MonkeyPatch:
    for name in ("MODEL_DIR", "MODEL_ARCHIVE", "MODEL_LICENSE_ACCEPTED", "MODEL_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MODEL_STORE", str(store))
    return monkeypatch


def test_the_command_writes_manifests_and_checks_models(
    environment: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(model_folders.write_model(tmp_path / "small"))
    assert main(["check", folder]) == 0
    assert "no manifest.json: only the structure was checked" in capsys.readouterr().out
    assert main(["manifest", folder, "--model", "owner/small", "--license", "OpenMDW-1.1"]) == 0
    assert capsys.readouterr().out == f"{folder}/manifest.json\n"
    assert main(["check", folder]) == 1
    assert capsys.readouterr().err.startswith("model store: model owner/small is under the OpenMDW License Agreement")
    environment.setenv("MODEL_LICENSE_ACCEPTED", "OpenMDW-1.1")
    assert main(["check", folder, "--full"]) == 0
    out = capsys.readouterr().out
    assert "license      OpenMDW-1.1\n" in out
    assert "steps        80, 160, 320, 560, 1120 ms, by default 320\n" in out
    assert main(["manifest", folder]) == 0  # what the earlier one said stays
    assert json.loads((Path(folder) / "manifest.json").read_text())["license"] == "OpenMDW-1.1"


def test_the_command_fails_with_a_reason(environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fetch"]) == 1
    assert capsys.readouterr().err.startswith("model store: there is no model: expected MODEL_DIR")
    assert main(["manifest", "/nowhere"]) == 1
    assert "model store: /nowhere: missing, expected a model folder" in capsys.readouterr().err
