r"""Train the small model, or train it further.

    PYTHONPATH=hack python -m tiny_model.train build/tiny/corpus build/tiny/model \
        --continue-from tests/fixtures/models/tiny

One thread (two are slower where the cores are shared). The rate of learning follows the minutes given, so the result
depends on the machine; what is seen in which order does not. Every 500 steps, and at the end, the model folder is
written, with ``checkpoint.pt`` in it: given to ``--continue-from``, that goes on with optimiser and step count.
"""

import argparse
import math
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import nn
from transformers import NemotronAsrStreamingFeatureExtractor, NemotronAsrStreamingForRNNT

from tiny_model.augment import augment
from tiny_model.corpus import Corpus
from tiny_model.export import export
from tiny_model.network import LOOKAHEADS, Batch, Losses, build, load, losses

SAMPLE_RATE: Final = 16_000
BATCH_SAMPLES: Final = 24 * 2.2 * SAMPLE_RATE
LONGEST_SECONDS: Final = 7.0
CTC_SHARE: Final = 0.3
WARM_UP_STEPS: Final = 150
HEAD_STEPS: Final = 100
"""A CTC head that begins beside a trained encoder learns alone for so long."""
CTC_FIRST_STEPS: Final = 150
"""A model that begins from nothing learns by CTC alone for so long."""
SAVE_STEPS: Final = 500
REPORT_STEPS: Final = 50


@dataclass(slots=True)
class Training:
    """Everything that learns."""

    model: NemotronAsrStreamingForRNNT
    head: nn.Linear
    optimiser: torch.optim.Optimizer
    from_nothing: bool
    step: int = 0

    @classmethod
    def begin(cls, source: Path | None, *, pieces: int) -> "Training":
        """From nothing, from a model folder, or from a checkpoint."""
        model = load(source) if source is not None and source.is_dir() else build(pieces)
        head = nn.Linear(model.config.encoder_config.hidden_size, pieces + 1)
        parameters = [*model.parameters(), *head.parameters()]
        optimiser = torch.optim.AdamW(parameters, lr=1e-3, betas=(0.9, 0.98), weight_decay=1e-3)
        found = cls(model, head, optimiser, from_nothing=source is None)
        if source is not None and not source.is_dir():
            state = torch.load(source, weights_only=True)
            model.load_state_dict(state["model"])
            head.load_state_dict(state["head"])
            optimiser.load_state_dict(state["optimiser"])
            found.step = state["step"]
        return found

    def learn(self, batch: Batch, *, lookahead: int, rate: float) -> Losses:
        """Take one step."""
        self.model.train()
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        head_alone = not self.from_nothing and self.step < HEAD_STEPS
        found = losses(self.model, self.head, batch, lookahead=lookahead, head_alone=head_alone)
        by_ctc_alone = self.from_nothing and self.step < CTC_FIRST_STEPS
        loss = found.ctc if by_ctc_alone else found.rnnt + CTC_SHARE * found.ctc
        self.optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 2.0, error_if_nonfinite=True)
        self.optimiser.step()
        self.step += 1
        return found

    def save(self, folder: Path, tokenizer: Tokenizer) -> None:
        """Write the model folder and the checkpoint, which replaces the one before when it is whole."""
        export(self.model, tokenizer, folder)
        state = {
            "model": self.model.state_dict(),
            "head": self.head.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
        }
        partial = folder / "checkpoint.pt.partial"
        torch.save(state, partial)
        partial.replace(folder / "checkpoint.pt")


@dataclass(slots=True)
class Lessons:
    """Batches of utterances of like length, differently augmented each time they come."""

    corpus: Corpus
    tokenizer: Tokenizer
    random_: random.Random
    noise: np.random.Generator
    features: NemotronAsrStreamingFeatureExtractor

    def __iter__(self) -> Iterator[Batch]:
        groups = self._groups()
        while True:
            self.random_.shuffle(groups)
            for group in groups:
                yield self._batch(group)

    def _groups(self) -> list[list[int]]:
        utterances = self.corpus.utterances
        groups: list[list[int]] = [[]]
        for number in sorted(range(len(utterances)), key=lambda number: utterances[number].samples):
            if utterances[number].samples * (len(groups[-1]) + 1) > BATCH_SAMPLES:
                groups.append([])
            groups[-1].append(number)
        return groups

    def _batch(self, group: list[int]) -> Batch:
        heard = [augment(self.corpus.samples(number), self.random_, self.noise) for number in group]
        said = [self.tokenizer.encode(self.corpus.utterances[number].text).ids for number in group]
        found = self.features(heard, sampling_rate=SAMPLE_RATE, return_tensors="pt")
        mels = found["input_features"]
        for row in mels:
            self._hide(row)
        pieces = torch.zeros(len(said), max(map(len, said)), dtype=torch.long)
        for row, tokens in zip(pieces, said, strict=True):
            row[: len(tokens)] = torch.tensor(tokens)
        return Batch(mels, found["attention_mask"], pieces, torch.tensor([len(tokens) for tokens in said]))

    def _hide(self, mels: torch.Tensor) -> None:
        """Hide two bands and one stretch of time behind the mean (SpecAugment, Park et al. 2019)."""
        mean = mels.mean()
        for _ in range(2):
            wide = self.random_.randint(0, 12)
            low = self.random_.randint(0, mels.shape[1] - wide)
            mels[:, low : low + wide] = mean
        wide = self.random_.randint(0, 12)
        start = self.random_.randint(0, max(1, len(mels) - wide))
        mels[start : start + wide] = mean


def rate_at(share: float, *, step: int, peak: float) -> float:
    """Rate of learning: up within WARM_UP_STEPS, down with a cosine until ``share`` of the time is 1."""
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, share)))
    return peak * min(1.0, (step + 1) / WARM_UP_STEPS) * (0.98 * cosine + 0.02)


def train(training: Training, lessons: Lessons, folder: Path, *, minutes: float, peak: float) -> None:
    """Learn for so long."""
    began = time.monotonic()
    recent: list[tuple[float, float]] = []
    first = training.step
    for batch in lessons:
        elapsed = (time.monotonic() - began) / 60
        if elapsed >= minutes:
            break
        lookahead = lessons.random_.choice((*LOOKAHEADS, LOOKAHEADS[0]))
        rate = rate_at(elapsed / minutes, step=training.step - first, peak=peak)
        found = training.learn(batch, lookahead=lookahead, rate=rate)
        recent.append((found.rnnt.item(), found.ctc.item()))
        if training.step % REPORT_STEPS == 0:
            rnnt, ctc = np.mean(recent, axis=0)
            recent.clear()
            line = f"{elapsed:6.1f} min  step {training.step}  rnnt {rnnt:.3f}  ctc {ctc:.3f}  rate {rate:.1e}"
            print(line, flush=True)
        if training.step % SAVE_STEPS == 0:
            training.save(folder, lessons.tokenizer)
    training.save(folder, lessons.tokenizer)


def main() -> None:
    """Train as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path, help="a folder that tiny_model.corpus wrote")
    parser.add_argument("model", type=Path, help="folder to write")
    parser.add_argument("--tokenizer", type=Path, default=Path("tests/fixtures/models/tiny/tokenizer.json"))
    parser.add_argument("--continue-from", type=Path, help="a model folder, or checkpoint.pt of one")
    parser.add_argument("--minutes", type=float, default=45)
    parser.add_argument("--rate", type=float, default=1.2e-3, help="of learning, at its peak")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(given.seed)
    tokenizer = Tokenizer.from_file(str(given.tokenizer))
    lessons = Lessons(
        corpus=Corpus.load(given.corpus, longest_seconds=LONGEST_SECONDS),
        tokenizer=tokenizer,
        random_=random.Random(given.seed),  # noqa: S311 - the same lessons for the same seed
        noise=np.random.default_rng(given.seed),
        features=NemotronAsrStreamingFeatureExtractor(feature_size=80),
    )
    training = Training.begin(given.continue_from, pieces=tokenizer.get_vocab_size(with_added_tokens=False))
    train(training, lessons, given.model, minutes=given.minutes, peak=given.rate)


if __name__ == "__main__":
    main()
