"""Invariant "sealed": nothing that was said, and no credential, is written anywhere."""

import os
from pathlib import Path

from support.asr_process import asr_process
from support.conversation import Conversation
from support.edge import receive
from support.gateway_process import gateway_process
from support.license_process import license_process
from support.scripted_audio import script
from support.service import TOKEN, write_credential
from support.usage_sink import spooled, usage_sink

SECRETS = ("xylophonequartz", "zephyrjukebox", "Kowalczykiewicz")


def written(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


async def test_sealed_nothing_said_is_written_at_any_log_level(tmp_path: Path) -> None:
    state, work = tmp_path / "state", tmp_path / "work"
    state.mkdir()
    work.mkdir()
    credential = write_credential(tmp_path)
    spoken = script(" ".join(SECRETS[:2]), tail_ms=1600)
    async with (
        asr_process(
            tmp_path, credential_file=credential, environment={"LOGGING_LEVEL": "DEBUG", "TMPDIR": str(work)}
        ) as asr,
        license_process(tmp_path, LOGGING_LEVEL="DEBUG") as proxy,
        gateway_process(
            tmp_path,
            asr_pools=f"english/en-default={asr.asr}",
            license_proxy=proxy,
            environment={"LOGGING_LEVEL": "DEBUG", "STATE_DIR": str(state), "TMPDIR": str(work)},
        ) as gateway,
    ):
        await gateway.announced()
        async with gateway.client(f'/v3/ws?keyterms_prompt=["{SECRETS[2]}"]') as client:
            conversation = Conversation(client)
            await conversation.speak(spoken.pcm)
            await conversation.until(lambda it: it.finals)
            assert conversation.text == " ".join(SECRETS[:2])
            # A bad message quotes the client back to the client, and to nobody else.
            await client.send(f'{{"type": "{SECRETS[2]}"}}')
            await conversation.until(lambda it: it.messages[-1]["type"] == "Error")
        async with gateway.client(f"/v3/ws?speech_model={SECRETS[2]}") as client:
            assert SECRETS[2] in (await receive(client))["error"]
        async with gateway.client(additional_headers={"Authorization": SECRETS[2]}) as client:
            assert (await receive(client))["error_code"] == 1008
        assert await gateway.stop() == 0
    audio = spoken.pcm[3200:3264]
    for path, content in written(tmp_path).items():
        for secret in SECRETS:
            assert secret.encode() not in content, path
        assert audio not in content, path
        if path != credential:
            assert TOKEN.encode() not in content, path


async def test_sealed_no_process_can_be_dumped_or_read_by_another(tmp_path: Path) -> None:
    async with (
        asr_process(tmp_path, credential_file=write_credential(tmp_path)) as asr,
        license_process(tmp_path) as proxy,
        gateway_process(tmp_path, asr_pools=f"english/en-default={asr.asr}", license_proxy=proxy) as gateway,
    ):
        await gateway.announced()
        for process in (asr.process, proxy.process, gateway.process):
            limits = Path(f"/proc/{process.pid}/limits").read_text()
            core = next(line for line in limits.splitlines() if line.startswith("Max core file size"))
            assert core.split()[4:6] == ["0", "0"]
            # PR_SET_DUMPABLE off makes /proc/PID root's (proc(5)); for root itself only the limit tells.
            if os.getuid() != 0:
                assert Path(f"/proc/{process.pid}/environ").stat().st_uid == 0


async def test_sealed_usage_that_is_kept_and_sent_holds_numbers_and_names_alone(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    credential = write_credential(tmp_path)
    spoken = script(" ".join(SECRETS[:2]), tail_ms=1600)
    async with (
        asr_process(tmp_path, credential_file=credential) as asr,
        usage_sink() as sink,
        gateway_process(
            tmp_path,
            asr_pools=f"english/en-default={asr.asr}",
            license_proxy=sink.url,
            environment={"LOGGING_LEVEL": "DEBUG", "STATE_DIR": str(state), "STOP_GRACE_SECONDS": "1"},
        ) as gateway,
    ):
        await gateway.announced()
        async with gateway.client(f'/v3/ws?keyterms_prompt=["{SECRETS[2]}"]') as client:
            conversation = Conversation(client)
            await sink.until(lambda: sink.reports)
            await sink.down()
            await conversation.speak(spoken.pcm)
            await conversation.terminate()
        assert await gateway.stop() == 0
    (report,) = spooled(state / "usage.sqlite3")
    assert report.transcript_characters == len(" ".join(SECRETS[:2]))
    assert report.features == ("keyterms", "partials")
    for path, content in written(tmp_path).items():
        assert not any(secret.encode() in content for secret in SECRETS), path
        if path != credential:
            assert TOKEN.encode() not in content, path
