"""TLS between gateway and ASR server (DESIGN 4 "Credential"): real processes, a certificate that signs itself."""

from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2

from support.asr_process import asr_process
from support.certificates import write_self_signed
from support.conversation import Conversation
from support.edge import receive
from support.gateway_process import gateway_process
from support.license_process import license_process
from support.scripted_audio import script
from support.service import write_credential

SECURE = "AAI_USE_SECURE_CHANNEL_TO_ASR_SERVICE"


def server_tls(certificate_file: Path, key_file: Path) -> dict[str, str]:
    return {"SERVER_TLS_CERT_FILE": str(certificate_file), "SERVER_TLS_KEY_FILE": str(key_file)}


async def test_a_session_is_served_over_tls_when_both_ends_have_the_certificate(tmp_path: Path) -> None:
    certificate_file, key_file = write_self_signed(tmp_path, "127.0.0.1")
    async with (
        asr_process(tmp_path, environment=server_tls(certificate_file, key_file)) as asr,
        license_process(tmp_path) as proxy,
        gateway_process(
            tmp_path,
            asr_pools=f"english/en-default={asr.asr}",
            license_proxy=proxy,
            environment={SECURE: "true", "ASR_CA_FILE": str(certificate_file)},
        ) as gateway,
    ):
        await gateway.announced()
        async with gateway.client() as client:
            conversation = Conversation(client)
            await conversation.speak(script("sealed with wax").pcm)
            await conversation.terminate()
        assert conversation.text == "sealed with wax"


async def test_a_server_without_the_trusted_certificate_gets_no_session(tmp_path: Path) -> None:
    certificate_file, key_file = write_self_signed(tmp_path, "127.0.0.1")
    other = tmp_path / "other"
    other.mkdir()
    untrusted, _ = write_self_signed(other, "127.0.0.1")
    async with (
        asr_process(tmp_path, environment=server_tls(certificate_file, key_file)) as asr,
        license_process(tmp_path) as proxy,
        gateway_process(
            tmp_path,
            asr_pools=f"english/en-default={asr.asr}",
            license_proxy=proxy,
            environment={SECURE: "true", "ASR_CA_FILE": str(untrusted), "ASR_WAIT_SECONDS": "1.5"},
        ) as gateway,
    ):
        await gateway.announced()
        async with gateway.client() as client:
            assert (await receive(client))["type"] == "Begin"
            assert "No speech recognition available" in (await receive(client))["error"]


async def test_a_server_with_a_certificate_answers_nothing_in_the_clear(tmp_path: Path) -> None:
    certificate_file, key_file = write_self_signed(tmp_path, "127.0.0.1")
    trust = grpc.ssl_channel_credentials(certificate_file.read_bytes())
    request = health_pb2.HealthCheckRequest().SerializeToString()
    async with asr_process(tmp_path, environment=server_tls(certificate_file, key_file)) as asr:
        async with grpc.aio.secure_channel(asr.asr, trust) as channel:
            answer = await channel.unary_unary("/grpc.health.v1.Health/Check")(request, timeout=20)
            assert health_pb2.HealthCheckResponse.FromString(answer).status == health_pb2.HealthCheckResponse.SERVING
        async with grpc.aio.insecure_channel(asr.asr) as channel:
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await channel.unary_unary("/grpc.health.v1.Health/Check")(request, timeout=20)
            assert refused.value.code() is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize(
    ("environment", "complaint"),
    [
        ({SECURE: "true", "ASR_CA_FILE": "absent.pem"}, "root certificates absent.pem: No such file"),
        ({"ASR_CA_FILE": "ca.pem"}, f"ASR_CA_FILE: expected {SECURE} to be true with it"),
        ({SECURE: "true", "ASR_CA_FILE": "STREAMSTACK_CREDENTIAL_FILE"}, "expected PEM certificates"),
    ],
)
async def test_a_gateway_that_cannot_use_its_certificates_says_why(
    tmp_path: Path, environment: dict[str, str], complaint: str
) -> None:
    if environment["ASR_CA_FILE"] == "STREAMSTACK_CREDENTIAL_FILE":
        environment = {**environment, "ASR_CA_FILE": str(write_credential(tmp_path))}
    async with gateway_process(
        tmp_path,
        asr_pools="english/en-default=127.0.0.1:9",
        license_proxy="http://127.0.0.1:9",
        environment=environment,
    ) as gateway:
        assert await gateway.wait() == 2
        assert complaint in gateway.log
        assert "Traceback" not in gateway.log
