"""How soon words are shown and turns end, for real speech in real time through the whole stack with engine ``sphinx``.

    python hack/bench/speech_latency.py

Every recording of the fixtures is streamed in 50 ms frames at real-time pace, with two seconds of silence behind it.
Partial: from the end of a word in the audio to the first message that shows that word at that place (its start may
differ by 100 ms).
Final: from the end of the last word to the message that ends its turn; the session's silence (400 ms and more, by the
words) is part of it.
"""

import asyncio
import json
import statistics
import sys
import wave
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from websockets.asyncio.client import ClientConnection, connect

RECORDINGS: Final = Path(__file__).resolve().parents[2] / "tests/fixtures/recordings"
FRAME_MS: Final = 50
FRAME_BYTES: Final = FRAME_MS * 32
SILENCE: Final = bytes(2_000 * 32)
SAME_START_MS: Final = 100

Heard = list[tuple[float, dict[str, Any]]]


async def listen(client: ClientConnection, heard: Heard) -> None:
    """Keep every Turn with its time of arrival."""
    loop = asyncio.get_running_loop()
    async for text in client:
        message = json.loads(text)
        if message["type"] == "Turn":
            heard.append((loop.time(), message))


async def speak(endpoint: str, pcm: bytes) -> tuple[float, Heard]:
    """Stream one recording; answers when its first sample was spoken, and the Turns."""
    heard: Heard = []
    loop = asyncio.get_running_loop()
    headers = {"Authorization": "self-hosted"}
    async with connect(f"{endpoint}/v3/ws?sample_rate=16000", additional_headers=headers) as client:
        listening = asyncio.create_task(listen(client, heard))
        began = loop.time()
        try:
            for number, start in enumerate(range(0, len(pcm), FRAME_BYTES), 1):
                # A frame can be sent when its last sample has been spoken.
                await asyncio.sleep(began + number * FRAME_MS / 1000 - loop.time())
                await client.send(pcm[start : start + FRAME_BYTES])
            await client.send('{"type": "Terminate"}')
        finally:
            # An end that was not asked for is the sender's error, too.
            await asyncio.gather(listening, return_exceptions=True)
        await listening
    return began, heard


def delays(began: float, heard: Heard) -> tuple[list[float], list[float]]:
    """Milliseconds from the end of words to their partials, and from the end of turns' last words to the finals."""
    partials, finals = [], []
    for at, final in heard:
        if not final["end_of_turn"]:
            continue
        finals.append((at - began) * 1000 - final["words"][-1]["end"])
        shown = [(when, turn) for when, turn in heard if turn["turn_order"] == final["turn_order"]]
        for word in final["words"]:
            first = next(when for when, turn in shown if any(_same(word, seen) for seen in turn["words"]))
            partials.append((first - began) * 1000 - word["end"])
    return partials, finals


def _same(word: dict[str, Any], seen: dict[str, Any]) -> bool:
    same_text: bool = word["text"].lower() == seen["text"].lower()
    return same_text and abs(int(word["start"]) - int(seen["start"])) <= SAME_START_MS


def line(name: str, values: Sequence[float]) -> str:
    """One row of the table."""
    tenths = statistics.quantiles(values, n=20)
    return f"{name:8} {len(values):5} {statistics.median(values):7.0f} {tenths[-1]:7.0f} {max(values):7.0f}"


async def main() -> None:
    """Run everything once."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "streamstack_cli", "up", "--engine", "sphinx"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    partials: list[float] = []
    finals: list[float] = []
    try:
        assert process.stdout is not None  # noqa: S101  # opened as a pipe above
        endpoint = json.loads(await process.stdout.readline())["gateway"]
        for path in sorted(RECORDINGS.glob("*/*.wav")):
            with wave.open(str(path)) as recording:
                pcm = recording.readframes(recording.getnframes()) + SILENCE
            found = delays(*await speak(endpoint, pcm))
            partials += found[0]
            finals += found[1]
    finally:
        process.terminate()
        await process.wait()
    print(f"{'':8} {'count':>5} {'p50 ms':>7} {'p95 ms':>7} {'max ms':>7}")
    print(line("partial", partials))
    print(line("final", finals))


if __name__ == "__main__":
    asyncio.run(main())
