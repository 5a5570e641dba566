"""How well engine ``nemotron``'s model hears what the small model is for: word errors by step, key terms, word times.

    PYTHONPATH=hack .venv/bin/python hack/bench/nemotron_accuracy.py

Needs Debian's espeak-ng, flite and pocketsphinx-testdata. Clips go through the model's slots, 16 at once, each begun
on its own (``tiny_model.hearing``).
"""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tiny_model.hearing import Listener
from tiny_model.held_out import FIXTURES, Clip, held_out_espeak, held_out_flite, irrelevant, people, withheld
from tiny_model.texts import WITHHELD

KEYTERM_STEP_MS: Final = 320


def word_error_rates(listener: Listener, sets: dict[str, list[Clip]], steps_ms: Sequence[int]) -> None:
    print(f"{'clips':28}{'clips':>6}{'words':>7}" + "".join(f"{f'{step} ms':>16}" for step in steps_ms))
    for name, clips in sets.items():
        scores = [listener.score(clips, step) for step in steps_ms]
        figures = "".join(f"{f'{one.rate:.1%} ({one.exact / one.clips:.0%})':>16}" for one in scores)
        print(f"{name:28}{scores[0].clips:6}{scores[0].words:7}{figures}", flush=True)
    print("word error rate (share of clips without an error)\n")


def keyterms(listener: Listener, known: dict[str, list[Clip]], step_ms: int) -> None:
    spoken = withheld(4)
    clips = [clip for _, clip in spoken]
    ways: dict[str, list[tuple[tuple[int, ...], ...]]] = {
        "without key terms": [()] * len(clips),
        "the word alone": [listener.text.terms([word]) for word, _ in spoken],
        f"all {len(WITHHELD)} words": [listener.text.terms(WITHHELD)] * len(clips),
        "100 terms, the word among them": [
            listener.text.terms(list(dict.fromkeys((word, *irrelevant(99, seed=7))))) for word, _ in spoken
        ],
    }
    print(f"withheld words, {len(clips)} clips of {len(WITHHELD)} words, at {step_ms} ms: recall")
    for name, terms in ways.items():
        heard = listener.texts(clips, step_ms, terms)
        found = sum(word in text.split() for (word, _), text in zip(spoken, heard, strict=True))
        print(f"  {name:32}{found / len(clips):7.1%}", flush=True)
    print(f"\nword error rate with irrelevant key terms, at {step_ms} ms")
    counts = (0, 10, 100)
    print(f"{'clips':28}" + "".join(f"{f'{count} terms':>12}" for count in counts))
    for name, clips in known.items():
        rates = [listener.score(clips, step_ms, irrelevant(count)).rate for count in counts]
        print(f"{name:28}" + "".join(f"{rate:12.1%}" for rate in rates), flush=True)


def main() -> None:
    """Measure all, or what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=FIXTURES / "models/tiny")
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--steps", default="80,160,320,560", help="ms")
    parser.add_argument("--espeak", type=int, default=150, help="clips")
    parser.add_argument("--flite", type=int, default=100, help="clips")
    parser.add_argument("--only", choices=("words", "keyterms"))
    given = parser.parse_args()
    steps = [int(step) for step in given.steps.split(",")]
    listener = Listener(given.model, precision=given.precision, steps_ms=sorted({*steps, KEYTERM_STEP_MS}))
    sets = {
        "espeak-ng, held-out voices": held_out_espeak(given.espeak),
        "flite slt, awb": held_out_flite(given.flite),
        "people": people(),
    }
    began = time.process_time()
    if given.only != "keyterms":
        word_error_rates(listener, sets, steps)
    if given.only != "words":
        keyterms(listener, sets, KEYTERM_STEP_MS)
    print(f"{time.process_time() - began:.0f} s of processor time")


if __name__ == "__main__":
    main()
