import json
import re
import time
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from streamstack_cli import throwaway_license
from support.license_process import LicenseProcess, license_process
from support.service import TOKEN
from support.signer import Signer


async def metrics(proxy: LicenseProcess) -> dict[str, float]:
    status, text = await proxy.get("/metrics")
    assert status == 200
    return {s.name: s.value for family in text_string_to_metric_families(text) for s in family.samples}


async def test_a_throwaway_license_is_ready_in_the_seeds_shape_and_its_keys_show(tmp_path: Path) -> None:
    async with license_process(tmp_path) as proxy:
        assert await proxy.get("/health", token=None) == (200, {"status": "ok"})
        assert (await proxy.get("/readyz", token=None))[0] == 200
        expected = {"state": "Ready", "last_successful_checkin": None, "trust_expiration": None, "extra_keys": True}
        assert await proxy.get("/v1/status") == (200, expected)

        status, license_ = await proxy.get("/v1/license")
        assert status == 200
        assert license_["customer"] == "throwaway"
        assert license_["billing"] == "flat"
        assert license_["models"] == ["*"]
        assert license_["reason"] is None
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.000000Z", license_["expires_at"])

        gauges = await metrics(proxy)
        assert gauges["streamstack_license_valid"] == 1
        assert gauges["streamstack_license_extra_keys"] == 1
        assert gauges["streamstack_license_expiry_timestamp_seconds"] > time.time()

        assert await proxy.stop() == 0
        assert "LICENSE_EXTRA_KEYS_FILE" in proxy.log
        assert "license proxy stopped" in proxy.log


async def test_a_port_that_is_taken_is_one_line_and_the_end(tmp_path: Path) -> None:
    (tmp_path / "second").mkdir()
    async with license_process(tmp_path) as proxy:
        with pytest.raises(RuntimeError) as caught:
            async with license_process(tmp_path / "second", port=proxy.port):
                pass
    told = str(caught.value)
    assert "exited 1: " in told
    assert re.search(rf"CRITICAL .*cannot serve: 127\.0\.0\.1 port {proxy.port}: Address already in use", told)
    assert "Traceback" not in told


@pytest.mark.parametrize("path", ["/v1/status", "/v1/license", "/metrics"])
async def test_everything_but_health_wants_the_credential(tmp_path: Path, path: str) -> None:
    async with license_process(tmp_path) as proxy:
        assert (await proxy.get(path, token=None))[0] == 401
        assert (await proxy.get(path, token=TOKEN[::-1]))[0] == 401


async def test_without_a_usable_license_it_serves_failed_in_exactly_three_fields(tmp_path: Path) -> None:
    async with license_process(tmp_path, license_file=tmp_path / "absent.jwt") as proxy:
        assert (await proxy.get("/health", token=None))[0] == 200
        failed = {"state": "Failed", "last_successful_checkin": None, "trust_expiration": None}
        assert await proxy.get("/v1/status") == (200, failed)
        license_ = (await proxy.get("/v1/license"))[1]
        assert license_["cause"] == "missing_file"
        assert "absent.jwt: no such file" in license_["reason"]
        assert (await metrics(proxy))["streamstack_license_valid"] == 0
        assert await proxy.stop() == 0
        assert "unknown -> Failed (missing_file)" in proxy.log


async def test_only_the_vendors_keys_count_unless_others_are_asked_for(tmp_path: Path) -> None:
    made = throwaway_license.make(tmp_path)
    async with license_process(tmp_path, license_file=made.license_file) as proxy:
        assert (await proxy.get("/v1/status"))[1]["state"] == "Failed"
        assert (await proxy.get("/v1/license"))[1]["cause"] == "unknown_key"


async def test_a_license_replaced_while_running_flips_the_state_both_ways(tmp_path: Path) -> None:
    signer, now = Signer(), int(time.time())
    license_file, keys_file = tmp_path / "license.jwt", tmp_path / "keys.json"
    keys_file.write_bytes(signer.jwks())
    license_file.write_bytes(signer.token(nbf=now - 100, exp=now - 10))
    async with license_process(tmp_path, license_file=license_file, keys_file=keys_file) as proxy:
        failed = (await proxy.get("/v1/license"))[1]
        assert (failed["state"], failed["cause"], failed["customer"]) == ("Failed", "expired", "acme")

        fresh = tmp_path / "fresh.jwt"
        fresh.write_bytes(signer.token(nbf=now - 100, exp=now + 1000, jti="license-2"))
        fresh.replace(license_file)
        await proxy.until_state("Ready")
        assert (await proxy.get("/v1/license"))[1]["license_id"] == "license-2"

        license_file.write_bytes(Signer(signer.kid).token(nbf=now - 100, exp=now + 1000))
        await proxy.until_state("Failed")
        log = proxy.log
        assert "Failed -> Ready: license license-2" in log
        assert "Ready -> Failed (forged_signature)" in log
        assert license_file.read_text() not in log


async def test_structured_logs_are_one_object_a_line(tmp_path: Path) -> None:
    async with license_process(tmp_path, USE_STRUCTURED_LOGGING="True") as proxy:
        assert await proxy.stop() == 0
        lines = [json.loads(line) for line in proxy.log.splitlines()]
        assert {line["service"] for line in lines} == {"license-proxy"}


@pytest.mark.parametrize(
    ("environment", "complaint"),
    [
        ({"HTTP_PORT": "70000"}, "--http-port / HTTP_PORT"),
        ({"LICENSE_EXTRA_KEYS_FILE": "absent.json"}, "LICENSE_EXTRA_KEYS_FILE absent.json: No such file"),
        ({"STREAMSTACK_CREDENTIAL_FILE": "absent"}, "credential file absent: No such file"),
    ],
)
async def test_a_configuration_it_cannot_use_stops_it_with_the_reason(
    tmp_path: Path, environment: dict[str, str], complaint: str
) -> None:
    with pytest.raises(RuntimeError, match=complaint) as caught:
        async with license_process(tmp_path, license_file=tmp_path / "license.jwt", **environment):
            raise AssertionError("it started")
    assert "exited 2" in str(caught.value)
    assert "Traceback" not in str(caught.value)


def test_a_throwaway_license_leaves_no_private_key_behind(tmp_path: Path) -> None:
    made = throwaway_license.make(tmp_path)
    (jwk,) = json.loads(made.keys_file.read_text())["keys"]
    assert set(jwk) == {"kty", "crv", "kid", "use", "alg", "x"}
    assert {path.name for path in tmp_path.iterdir()} == {made.license_file.name, made.keys_file.name}
    again = throwaway_license.make(tmp_path)
    assert jwk["x"] != json.loads(again.keys_file.read_text())["keys"][0]["x"]
