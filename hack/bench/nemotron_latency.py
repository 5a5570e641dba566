"""How soon words are shown and turns end with engine ``nemotron``: real time, through the whole stack, by step.

    PYTHONPATH=hack .venv/bin/python hack/bench/nemotron_latency.py [--model DIR] [--chunk-ms 80 160 320 560]

Single words of voices that the small model was not trained on, set one behind the other with pauses of 80 to 600 ms
(``tiny_model.held_out``), so that it is known where each word ends: the model's own times do not count. Each step is a
stack of its own (``streamstack up``); its sessions begin one after the other. Needs espeak-ng.

Partial: from the end of a word in the audio to the first message that shows it, by its text and its place.
Final: from the end of a turn's last word in the audio to the message that ends the turn; the session's silence (400 ms
and more, by the words) is part of it. A word that is not heard is missing from both, and counted.
"""

import argparse
import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import machine
import measure
from speech_latency import SILENCE, Heard, speak
from websockets.exceptions import ConnectionClosed

from streamstack_cli.calibration.measures import percentile
from tiny_model.held_out import FIXTURES, Clip, Placed, placed_words

SAMPLES_A_MS: Final = 16
SAME_PLACE_MS: Final = 300
"""How far a word's told start may be from where it lies: less than the shortest word and pause together."""
BEGINNING_SECONDS: Final = 0.37
"""Between the beginnings of two sessions: no whole number of any step."""

Spoken = tuple[Clip, tuple[Placed, ...]]


@dataclass(slots=True)
class Delays:
    """Milliseconds, of every word that was shown and of every turn's end; ``words`` is how many were said."""

    words: int = 0
    partials: list[float] = field(default_factory=list)
    finals: list[float] = field(default_factory=list)


def found(word: dict[str, Any], places: Sequence[Placed]) -> Placed | None:
    """Return the word of the clip that a word of a message is, None for one that was not said there."""
    text = word["text"].lower().strip(".,?!")
    for place in places:
        if place.word == text and abs(place.start / SAMPLES_A_MS - word["start"]) <= SAME_PLACE_MS:
            return place
    return None


def add(delays: Delays, began: float, heard: Heard, places: Sequence[Placed]) -> None:
    """Take what one session heard."""
    shown: dict[Placed, float] = {}
    for at, turn in heard:
        for word in turn["words"]:
            place = found(word, places)
            if place is not None:
                shown.setdefault(place, at)
        last = found(turn["words"][-1], places) if turn["words"] else None
        if turn["end_of_turn"] and last is not None:
            delays.finals.append((at - began) * 1000 - last.end / SAMPLES_A_MS)
    delays.words += len(places)
    delays.partials += [(at - began) * 1000 - place.end / SAMPLES_A_MS for place, at in shown.items()]


@contextlib.asynccontextmanager
async def stack(model: Path, chunk_ms: int, slots: int) -> AsyncIterator[str]:
    """Run a stack; the address of its gateway."""
    options = ("--engine", "nemotron", "--model", str(model), "--chunk-ms", str(chunk_ms), "--slots", str(slots))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "streamstack_cli", "up", *options, "--log-level", "WARNING"),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None  # noqa: S101  # opened as a pipe above
        line = await process.stdout.readline()
        if not line:
            raise SystemExit("the stack did not start: see above")
        yield json.loads(line)["gateway"]
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def measured(endpoint: str, clips: Sequence[Spoken], at_once: int) -> Delays:
    """Stream every clip in real time, so many at once. Raises ConnectionClosed, in a group, when a session is ended."""
    delays, room = Delays(), asyncio.Semaphore(at_once)

    async def one(number: int, clip: Clip, places: Sequence[Placed]) -> None:
        async with room:
            if number < at_once:
                await asyncio.sleep(number * BEGINNING_SECONDS)
            add(delays, *await speak(endpoint, clip.samples.tobytes() + SILENCE), places)

    async with asyncio.TaskGroup() as sessions:
        for number, (clip, places) in enumerate(clips):
            sessions.create_task(one(number, clip, places))
    return delays


def row(name: str, chunk_ms: int, values: Sequence[float], of: int) -> tuple[str, ...]:
    """One line of the table."""
    times = [f"{percentile(values, percent):.0f}" for percent in (50, 95, 100)] if values else ["-"] * 3
    return (str(chunk_ms), name, f"{len(values)} of {of}" if of else str(len(values)), *times)


async def main() -> None:
    """Measure every step in turn."""
    options = _options()
    clips = list(placed_words(options.clips))
    print(f"{machine.describe()}\n{options.model.name}, {options.at_once} sessions at once\n", flush=True)
    rows: list[tuple[str, ...]] = [("chunk ms", "what", "count", "p50 ms", "p95 ms", "max ms")]
    for chunk_ms in options.chunk_ms:
        delays = Delays()
        async with stack(options.model, chunk_ms, 4 * options.at_once) as endpoint:
            try:
                delays = await measured(endpoint, clips, options.at_once)
            except* ConnectionClosed as errors:
                print(f"steps of {chunk_ms} ms: {errors.exceptions[0]}: too much for this machine", flush=True)
        rows.append(row("partial", chunk_ms, delays.partials, delays.words))
        rows.append(row("final", chunk_ms, delays.finals, 0))
    print(measure.table(rows))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--model", type=Path, default=FIXTURES / "models/tiny", help="model folder")
    parser.add_argument("--chunk-ms", type=int, nargs="+", default=[80, 160, 320, 560], help="steps")
    parser.add_argument("--clips", type=int, default=12, help="clips of six words")
    parser.add_argument("--at-once", type=int, default=2, help="sessions at the same time")
    return parser.parse_args()


if __name__ == "__main__":
    asyncio.run(main())
