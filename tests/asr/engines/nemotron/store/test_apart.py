import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from streamstack_asr.engines.nemotron.facts import ModelError
from streamstack_asr.engines.nemotron.store import StoreSettings, locate, locate_apart
from support import model_folders
from support.archive_server import Served, pack, serving


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    content = pack(model_folders.write_model(tmp_path / "model"), tmp_path / "small.tar.gz")
    with serving(Served(content)) as it:
        yield it


def settings(served: Served, store: Path) -> StoreSettings:
    return StoreSettings(archive=served.url, archive_sha256=served.sha256, store=store)


async def test_a_server_that_starts_has_its_archive_fetched_by_another_process(
    served: Served, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", "streamstack_asr.store"):
        found = await locate_apart(settings(served, tmp_path / "store"))
    assert found.facts.layers == model_folders.LAYERS
    assert found.name == "small"
    assert [line for line in caplog.messages if "is in the store" in line] != []
    assert "secret" not in caplog.text
    assert len(served.requests) == 1


async def test_what_went_wrong_there_is_said_here(served: Served, tmp_path: Path) -> None:
    served.failures = [404]
    with pytest.raises(ModelError, match=r"^http://127.0.0.1/models/small.tar.gz: HTTP 404"):
        await locate_apart(settings(served, tmp_path / "store"))


async def test_a_start_that_is_given_up_ends_the_process_and_leaves_its_lock_free(
    served: Served, tmp_path: Path
) -> None:
    served.gate, served.asked = threading.Event(), threading.Event()
    start = asyncio.create_task(locate_apart(settings(served, tmp_path / "store")))
    assert await asyncio.to_thread(served.asked.wait, 60)
    start.cancel()
    with pytest.raises(asyncio.CancelledError):
        await start
    served.gate.set()
    assert (await asyncio.to_thread(locate, settings(served, tmp_path / "store"))).name == "small"


async def test_a_folder_needs_no_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asyncio, "create_subprocess_exec", None)
    folder = model_folders.write_model(tmp_path / "model")
    assert (await locate_apart(StoreSettings(model_dir=str(folder), store=tmp_path / "store"))).path == folder
