import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.nemotron

MODEL = Path(__file__).parent.parent / "fixtures/models/tiny"


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(1)
    yield
    torch.set_num_threads(threads)


def every_alignment(blank: list[list[float]], emit: list[list[float]]) -> Iterator[float]:
    """Log probability of each way to put the pieces on the frames."""
    frames, pieces = len(blank), len(emit[0])
    for places in itertools.combinations_with_replacement(range(frames), pieces):
        said, total = 0, 0.0
        for frame in range(frames):
            for _ in range(places.count(frame)):
                total += emit[frame][said]
                said += 1
            total += blank[frame][said]
        yield total


@pytest.mark.parametrize(("frames", "pieces"), [(1, 0), (1, 2), (3, 2), (4, 3)])
def test_the_loss_is_that_of_all_alignments(frames: int, pieces: int) -> None:
    import torch

    from tiny_model.network import rnnt_loss

    # Rows of a batch are longer than the one looked at.
    blank = torch.nn.functional.logsigmoid(torch.randn(2, 6, 5))
    emit = torch.nn.functional.logsigmoid(torch.randn(2, 6, 4))
    found = rnnt_loss(blank, emit, frames=torch.tensor([6, frames]), lengths=torch.tensor([4, pieces]))

    row = every_alignment(blank[1, :frames].tolist(), emit[1, :frames, :pieces].tolist())
    expected = -torch.logsumexp(torch.tensor(list(row)), 0)
    assert found[1].item() == pytest.approx(expected.item(), rel=1e-5)


def test_what_is_folded_into_the_first_convolution_hears_the_same() -> None:
    import torch
    from transformers import NemotronAsrStreamingForRNNT

    from tiny_model.network import load, plain

    mels = torch.randn(2, 60, 80) * 4.6 - 11.6
    learning = load(MODEL).eval()
    with torch.no_grad():
        models = (NemotronAsrStreamingForRNNT.from_pretrained(MODEL, dtype=torch.float32), learning, plain(learning))
        before, unfolded, folded = (
            model.get_audio_features(
                input_features=mels, attention_mask=torch.ones(2, 60, dtype=torch.bool), num_lookahead_tokens=1
            ).pooler_output
            for model in models
        )
    torch.testing.assert_close(unfolded, before, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(folded, before, atol=1e-4, rtol=1e-4)


def test_a_model_that_is_exported_is_the_fixture_again(tmp_path: Path) -> None:
    from safetensors.torch import load_file
    from tokenizers import Tokenizer

    from tiny_model.export import export
    from tiny_model.network import load

    export(load(MODEL), Tokenizer.from_file(str(MODEL / "tokenizer.json")), tmp_path)

    expected, found = (load_file(folder / "model.safetensors") for folder in (MODEL, tmp_path))
    assert found.keys() == expected.keys()
    assert all((found[name] == expected[name]).all() for name in found)
    for name in ("config.json", "generation_config.json", "processor_config.json", "tokenizer.json"):
        before, after = (json.loads((folder / name).read_text()) for folder in (MODEL, tmp_path))
        assert {**after, "transformers_version": ""} == {**before, "transformers_version": ""}
