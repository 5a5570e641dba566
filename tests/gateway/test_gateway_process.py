"""The gateway as a process: configuration, internal port, license, stop. Real sockets, real license proxy."""

import asyncio
from pathlib import Path

import pytest

from streamstack_common.sessions_report import SessionsReport
from support.edge import ended, receive
from support.gateway_process import gateway_process
from support.license_process import license_process

NOWHERE = "english/en-default=127.0.0.1:9"


async def test_a_gateway_without_asr_serves_and_its_sessions_end_typed_when_none_comes(tmp_path: Path) -> None:
    async with (
        license_process(tmp_path) as proxy,
        gateway_process(
            tmp_path, asr_pools=NOWHERE, license_proxy=proxy, environment={"ASR_WAIT_SECONDS": "0.5"}
        ) as gateway,
    ):
        await gateway.announced()
        async with gateway.client() as client:
            assert (await receive(client))["type"] == "Begin"
            error = await receive(client)
            assert (error["error_code"], error["error"]) == (
                3005,
                "Session Cancelled: An error occurred: No speech recognition available for 0.5 seconds",
            )
            assert (await ended(client))[0] == 3005


async def test_a_gateway_that_never_heard_of_a_license_is_not_ready_and_admits_nobody(tmp_path: Path) -> None:
    async with (
        license_process(tmp_path) as proxy,
        gateway_process(tmp_path, asr_pools=NOWHERE, license_proxy=proxy) as gateway,
    ):
        await gateway.announced()
    async with gateway_process(
        tmp_path, asr_pools=NOWHERE, license_proxy=proxy, environment={"AAI_WSS_PORT": gateway.endpoint.split(":")[-1]}
    ) as second:
        second.addresses = {"gateway": gateway.endpoint}
        async with asyncio.timeout(20):
            while True:
                try:
                    async with second.client() as client:
                        error = await receive(client)
                    break
                except OSError:
                    await asyncio.sleep(0.05)
        assert error["error_code"] == 1008
        assert not second.announcement.done()


async def test_the_internal_port_refuses_a_caller_without_the_credential(tmp_path: Path) -> None:
    async with (
        license_process(tmp_path) as proxy,
        gateway_process(tmp_path, asr_pools=NOWHERE, license_proxy=proxy) as gateway,
    ):
        await gateway.announced()
        for path in ("/metrics", "/sessions"):
            assert (await gateway.internal(path, token=None))[0] == 401
            assert (await gateway.internal(path, token="not-the-credential"))[0] == 401  # noqa: S106
            assert (await gateway.internal(path))[0] == 200
        assert (await gateway.internal("/retire", method="POST", body={"generation": 1}, token=None))[0] == 401
        assert (await gateway.internal("/healthz", token=None))[0] == 200
        assert (await gateway.internal("/readyz", token=None))[0] == 200


async def test_sessions_retire_and_resume_follow_their_schema_and_generation(tmp_path: Path) -> None:
    async with (
        license_process(tmp_path) as proxy,
        gateway_process(
            tmp_path, asr_pools=NOWHERE, license_proxy=proxy, environment={"CAPACITY": "5", "REVISION": "abc"}
        ) as gateway,
    ):
        await gateway.announced()
        async with gateway.client() as client:
            await receive(client)
            status, body = await gateway.internal("/sessions")
            report = SessionsReport.model_validate(body)
            assert status == 200
            assert (report.sessions, report.capacity, report.max_sessions, report.revision) == (1, 5, 20, "abc")
            assert report.pools["english"].waiting == 1
            status, body = await gateway.internal("/retire", method="POST", body={"generation": 4})
            assert (status, body["admission"], body["generation"]) == (200, "retired", 4)
            assert (await gateway.internal("/readyz", token=None))[0] == 503
            status, body = await gateway.internal("/resume", method="POST", body={"generation": 3})
            assert (status, body["admission"]) == (409, "retired")
            status, body = await gateway.internal("/resume", method="POST", body={"generation": 5})
            assert (status, body["admission"]) == (200, "open")
            status, body = await gateway.internal("/retire", method="POST", body={"generation": "soon"})
            assert status == 400
            assert "generation" in body["error"]
        status, text = await gateway.internal("/metrics")
        assert "streamstack_gateway_begin_seconds_count 1.0" in text


async def test_a_stopping_gateway_lets_live_sessions_finish(tmp_path: Path) -> None:
    async with (
        license_process(tmp_path) as proxy,
        gateway_process(tmp_path, asr_pools=NOWHERE, license_proxy=proxy) as gateway,
    ):
        await gateway.announced()
        async with gateway.client() as live:
            await receive(live)
            stopping = asyncio.create_task(gateway.stop())
            await gateway.until_admission("retired")
            assert (await gateway.internal("/readyz", token=None))[0] == 503
            async with gateway.client() as late:
                assert (await receive(late))["error_code"] == 1013
            await live.send('{"type": "Terminate"}')
            assert (await receive(live))["type"] == "Termination"
            assert await ended(live) == (1000, "")
        assert await stopping == 0


async def test_sessions_that_outlive_the_grace_are_told(tmp_path: Path) -> None:
    async with (
        license_process(tmp_path) as proxy,
        gateway_process(
            tmp_path, asr_pools=NOWHERE, license_proxy=proxy, environment={"STOP_GRACE_SECONDS": "0.1"}
        ) as gateway,
    ):
        await gateway.announced()
        async with gateway.client() as live:
            await receive(live)
            stopping = asyncio.create_task(gateway.stop())
            assert (await receive(live))["error_code"] == 3005
            assert (await ended(live))[0] == 3005
        assert await stopping == 0


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"ASR_POOLS": "english"}, "expected name/model=host:port"),
        ({"ASR_POOLS": ""}, "ASR_POOLS"),
        ({"AAI_WSS_PORT": "http"}, "AAI_WSS_PORT"),
        ({"CAPACITY": "10", "MAX_SESSIONS": "5"}, "configuration: MAX_SESSIONS (5) is below CAPACITY (10)"),
        ({"SSL_CERT_PATH": "x.pem"}, "SSL_CERT_PATH and SSL_CERT_KEY go together"),
        ({"SSL_CERT_PATH": "x.pem", "SSL_CERT_KEY": "y.pem"}, "x.pem"),
        ({"MODEL_ALIASES": "nonsense"}, "nonsense"),
        ({"STREAMSTACK_CREDENTIAL_FILE": "absent"}, "credential file absent"),
        ({"AAI_LICENSE_AND_USAGE_PROXY_ENDPOINT": "nowhere"}, "AAI_LICENSE_AND_USAGE_PROXY_ENDPOINT"),
        ({"AAI_LICENSE_AND_USAGE_PROXY_ENDPOINT": "http://a:1,b:2"}, "'b:2': expected http(s)://host:port"),
        ({"GATEWAY_PEERS": "http://gateways"}, "GATEWAY_PEERS 'http://gateways': expected host names or addresses"),
        ({"USAGE_INTERVAL_SECONDS": "0"}, "USAGE_INTERVAL_SECONDS"),
        (
            {"LICENSE_CLIENT_KEY_FILE": "x.pem"},
            "LICENSE_CLIENT_CERTIFICATE_FILE and LICENSE_CLIENT_KEY_FILE go together",
        ),
        ({"LICENSE_CA_FILE": "x.pem"}, "expected a license proxy of https://"),
        (
            {"LICENSE_CA_FILE": "x.pem", "AAI_LICENSE_AND_USAGE_PROXY_ENDPOINT": "https://a:1"},
            "LICENSE_CA_FILE x.pem: No such file",
        ),
    ],
)
async def test_a_setting_that_cannot_work_is_named_at_start(
    tmp_path: Path, environment: dict[str, str], expected: str
) -> None:
    async with gateway_process(
        tmp_path, asr_pools=NOWHERE, license_proxy="http://127.0.0.1:9", environment=environment
    ) as gateway:
        async with asyncio.timeout(30):
            assert await gateway.process.wait() == 2
        assert expected in gateway.log


async def test_few_sessions_or_a_balancer_alone_are_configuration_enough(tmp_path: Path) -> None:
    async with (
        license_process(tmp_path) as proxy,
        gateway_process(
            tmp_path,
            asr_pools="",
            license_proxy=proxy,
            environment={"MAX_SESSIONS": "3", "AAI_ASR_ENDPOINT": "127.0.0.1:9"},
        ) as gateway,
    ):
        await gateway.announced()
        _, report = await gateway.internal("/sessions")
        assert (report["capacity"], report["max_sessions"]) == (3, 3)
        assert set(report["pools"]) == {"english", "multilingual"}
