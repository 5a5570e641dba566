"""What docs/clients.md shows works as it stands."""

import asyncio
import re
import sys
from pathlib import Path

from support.streaming_double import streaming_double

REPOSITORY = Path(__file__).parent.parent.parent
PAGE = (REPOSITORY / "docs/clients.md").read_text()


def example(language: str, marker: str) -> str:
    """The one code block of a language that holds ``marker``."""
    blocks = [block for block in re.findall(rf"```{language}\n(.*?)```", PAGE, re.S) if marker in block]
    assert len(blocks) == 1
    return str(blocks[0])


async def test_the_assemblyai_sdk_for_python_connects_as_shown() -> None:
    code = example("python", "StreamingClient(")
    async with streaming_double() as heard:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", code.replace("ws://localhost:8080", heard.endpoint).replace(
                "clients/examples/recording.wav", "tests/fixtures/recordings/cards/001.wav"
            ),
            cwd=REPOSITORY, stdout=-1, stderr=-1,
        )  # fmt: skip
        out, err = await process.communicate()
    assert (process.returncode, out.decode().splitlines()) == (0, ["Ten of clubs.", "Queen of hearts."]), err
    assert (heard.path, heard.authorization) == ("/v3/ws", "self-hosted")
    assert heard.query == {"sample_rate": "16000", "format_turns": "True"}
