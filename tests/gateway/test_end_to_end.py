"""Gateway, license proxy and ASR server as processes; words read from the very samples that arrive."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from streamstack_cli import throwaway_license
from support.asr_process import AsrProcess, asr_process
from support.conversation import Conversation
from support.edge import receive
from support.gateway_process import GatewayProcess, gateway_process
from support.license_process import license_process
from support.scripted_audio import Script, script
from support.service import write_credential

SENTENCES = (
    "the quick brown fox jumps over the lazy dog",
    "pack my box with five dozen liquor jugs",
    "how vexingly quick daft zebras jump",
)


def sentences(*texts: str, tail_ms: int = 1600) -> Script:
    spoken = script(texts[0], tail_ms=tail_ms)
    for text in texts[1:]:
        spoken += script(text, tail_ms=tail_ms, first_block=spoken.next_block)
    return spoken


@asynccontextmanager
async def gateway(folder: Path, *servers: AsrProcess, **environment: str) -> AsyncIterator[GatewayProcess]:
    pools = "english/en-default=" + ",".join(server.asr for server in servers)
    async with (
        license_process(folder) as proxy,
        gateway_process(folder, asr_pools=pools, license_proxy=proxy, environment=environment) as it,
    ):
        await it.announced()
        yield it


async def test_every_word_arrives_once_in_order_with_its_time(tmp_path: Path) -> None:
    async with asr_process(tmp_path, credential_file=write_credential(tmp_path)) as asr, gateway(tmp_path, asr) as it:
        async with it.client() as client:
            conversation = Conversation(client)
            spoken = sentences(*SENTENCES)
            await conversation.speak(spoken.pcm)
            await conversation.terminate()
        assert conversation.finals == list(SENTENCES)
        heard = [word for turn in conversation.turns if turn["end_of_turn"] for word in turn["words"]]
        assert [(word["text"], word["start"], word["end"]) for word in heard] == [
            (word.text, word.start_sample // 16, word.end_sample // 16) for word in spoken.words
        ]
        assert any(not turn["end_of_turn"] for turn in conversation.turns)
        assert conversation.messages[-1]["audio_duration_seconds"] == round(spoken.samples / 16_000)


@pytest.mark.parametrize("spoil", ["drop", "double"])
async def test_a_hundred_milliseconds_dropped_or_doubled_show_in_the_words(tmp_path: Path, spoil: str) -> None:
    """What makes every other test here able to fail."""
    async with asr_process(tmp_path, credential_file=write_credential(tmp_path)) as asr, gateway(tmp_path, asr) as it:
        async with it.client() as client:
            conversation = Conversation(client)
            pcm = sentences(SENTENCES[0]).pcm
            piece = pcm[6400:9600]
            await conversation.speak(pcm[:6400] + (b"" if spoil == "drop" else piece * 2) + pcm[9600:])
            await conversation.terminate()
        assert conversation.text != SENTENCES[0]


async def test_no_word_lost_nor_moved_by_audio_in_flight_past_the_end_of_a_turn(tmp_path: Path) -> None:
    async with asr_process(tmp_path, credential_file=write_credential(tmp_path)) as asr, gateway(tmp_path, asr) as it:
        async with it.client() as client:
            conversation = Conversation(client)
            # All audio is on its way before the first turn can be ended.
            await conversation.speak(sentences(*SENTENCES, tail_ms=700).pcm, frame_bytes=32_000)
            await conversation.terminate()
        assert conversation.text == " ".join(SENTENCES)
        assert len(conversation.finals) == len(SENTENCES)


async def test_force_endpoint_ends_the_turn_in_the_middle_of_a_sentence(tmp_path: Path) -> None:
    async with asr_process(tmp_path, credential_file=write_credential(tmp_path)) as asr, gateway(tmp_path, asr) as it:
        async with it.client() as client:
            conversation = Conversation(client)
            first = script("turn left", tail_ms=60)
            second = script("at the mill", first_block=first.next_block)
            await conversation.speak(first.pcm)
            await client.send('{"type": "ForceEndpoint"}')
            await conversation.until(lambda it: it.finals)
            await conversation.speak(second.pcm)
            await conversation.terminate()
        assert conversation.finals == ["turn left", "at the mill"]


async def test_no_word_lost_when_a_server_is_killed_in_the_middle_of_a_turn(tmp_path: Path) -> None:
    credential = write_credential(tmp_path)
    async with (
        asr_process(tmp_path, credential_file=credential) as first,
        asr_process(tmp_path, credential_file=credential) as second,
        gateway(tmp_path, first, second) as it,
    ):
        async with it.client() as client:
            conversation = Conversation(client)
            spoken = sentences(*SENTENCES * 3)
            half = len(spoken.pcm) // 6400 * 3200 + 1234
            await conversation.speak(spoken.pcm[:half])
            await conversation.until(lambda it: len(it.finals) >= 2)
            (await serving(first, second)).kill()
            await conversation.speak(spoken.pcm[half:])
            await conversation.terminate()
        assert conversation.finals == list(SENTENCES * 3)


async def serving(*servers: AsrProcess) -> AsrProcess:
    """The one that has a session."""
    async with aiohttp.ClientSession() as http:
        for server in servers:
            headers = {"Authorization": server.authorization}
            async with http.get(f"{server.internal}/sessions", headers=headers) as response:
                if (await response.json())["sessions"]:
                    return server
    raise AssertionError("no server has a session")


async def test_contained_two_hundred_sessions_hear_their_own_words_alone(tmp_path: Path) -> None:
    async with (
        asr_process(tmp_path, slots=400, credential_file=write_credential(tmp_path)) as asr,
        gateway(tmp_path, asr, CAPACITY="400") as it,
    ):

        async def one(number: int) -> None:
            name = "".join("abcdefghij"[int(digit)] for digit in str(number))
            async with it.client() as client:
                conversation = Conversation(client)
                await conversation.speak(script(f"i am {name} and nobody else").pcm)
                await conversation.terminate()
            assert conversation.text == f"i am {name} and nobody else"

        async with asyncio.TaskGroup() as group:
            for number in range(200):
                group.create_task(one(number))


async def test_a_full_pool_refuses_typed_and_serves_again_when_a_slot_is_free(tmp_path: Path) -> None:
    async with (
        asr_process(tmp_path, slots=1, credential_file=write_credential(tmp_path)) as asr,
        gateway(tmp_path, asr) as it,
    ):
        async with it.client() as first:
            conversation = Conversation(first)
            await conversation.speak(script("one").pcm)
            await conversation.until(lambda it: it.turns)
            async with it.client() as second:
                assert (await receive(second))["error_code"] == 3009
            await conversation.terminate()
        async with asyncio.timeout(10):
            while True:
                async with it.client() as third:
                    if (await receive(third))["type"] == "Begin":
                        break
        status, report = await it.internal("/sessions")
        assert status == 200
        assert report["pools"]["english"]["refused_total"] >= 1


async def test_no_word_lost_when_the_first_server_comes_after_the_client(tmp_path: Path) -> None:
    credential = write_credential(tmp_path)
    async with asr_process(tmp_path, credential_file=credential) as early:
        port = early.asr.rpartition(":")[2]
    async with (
        license_process(tmp_path) as proxy,
        gateway_process(tmp_path, asr_pools=f"english/en-default={early.asr}", license_proxy=proxy) as it,
    ):
        await it.announced()
        async with it.client() as client:
            conversation = Conversation(client)
            await conversation.speak(sentences(*SENTENCES).pcm)
            async with asr_process(tmp_path, credential_file=credential, port=int(port)):
                await conversation.terminate()
        assert conversation.finals == list(SENTENCES)


async def test_no_word_lost_when_every_server_dies_again_and_again(tmp_path: Path) -> None:
    credential = write_credential(tmp_path)
    async with asr_process(tmp_path, credential_file=credential) as first:
        address = first.asr
    port = int(address.rpartition(":")[2])
    async with (
        license_process(tmp_path) as proxy,
        gateway_process(tmp_path, asr_pools=f"english/en-default={address}", license_proxy=proxy) as it,
    ):
        await it.announced()
        async with it.client() as client:
            conversation = Conversation(client)
            spoken = sentences(*SENTENCES * 2)
            pieces = [spoken.pcm[start : start + 48_000] for start in range(0, len(spoken.pcm), 48_000)]
            for piece in pieces:
                async with asr_process(tmp_path, credential_file=credential, port=port) as server:
                    heard = len(conversation.messages)
                    await conversation.speak(piece)
                    await conversation.until(lambda it, heard=heard: len(it.messages) > heard)  # type: ignore[misc]
                    server.kill()
                    await server.wait()
            async with asr_process(tmp_path, credential_file=credential, port=port):
                await conversation.terminate()
        assert conversation.finals == list(SENTENCES * 2)


async def test_no_cut_a_live_session_outlives_the_license_proxy_and_new_ones_are_admitted(tmp_path: Path) -> None:
    credential = write_credential(tmp_path)
    async with (
        asr_process(tmp_path, credential_file=credential) as asr,
        license_process(tmp_path) as proxy,
        gateway_process(tmp_path, asr_pools=f"english/en-default={asr.asr}", license_proxy=proxy) as it,
    ):
        await it.announced()
        async with it.client() as client:
            conversation = Conversation(client)
            first = script("before", tail_ms=1600)
            await conversation.speak(first.pcm)
            proxy.kill()
            await proxy.wait()
            await conversation.speak(script("and after", first_block=first.next_block).pcm)
            await conversation.terminate()
            assert conversation.finals == ["before", "and after"]
        async with it.client() as client:
            assert (await receive(client))["type"] == "Begin"


async def test_no_cut_a_license_that_fails_closes_admission_and_leaves_live_sessions_alone(tmp_path: Path) -> None:
    credential = write_credential(tmp_path)
    made = throwaway_license.make(tmp_path)
    async with (
        asr_process(tmp_path, credential_file=credential) as asr,
        license_process(tmp_path, license_file=made.license_file, keys_file=made.keys_file) as proxy,
        gateway_process(tmp_path, asr_pools=f"english/en-default={asr.asr}", license_proxy=proxy) as it,
    ):
        await it.announced()
        async with it.client() as client:
            conversation = Conversation(client)
            await conversation.until(lambda it: it.messages)
            header, _, signature = made.license_file.read_text().split(".")
            made.license_file.write_text(f"{header}.eyJmb3JnZWQiOnRydWV9.{signature}")
            await it.until_admission("license-blocked")
            async with it.client() as refused:
                assert (await receive(refused))["error_code"] == 1008
            await conversation.speak(script("still here").pcm)
            await conversation.terminate()
        assert conversation.finals == ["still here"]


async def test_silence_makes_no_turn(tmp_path: Path) -> None:
    async with asr_process(tmp_path, credential_file=write_credential(tmp_path)) as asr, gateway(tmp_path, asr) as it:
        async with it.client() as client:
            conversation = Conversation(client)
            await conversation.speak(bytes(5 * 32_000))
            await conversation.terminate()
        assert [message["type"] for message in conversation.messages] == ["Begin", "Termination"]
