"""Every image runs as an unprivileged user that can write nothing, says when it is healthy, and ends as it should."""

from pathlib import Path
from typing import Any

import pytest

from support.certificates import write_self_signed

pytestmark = pytest.mark.timeout(900)  # the first test waits for the images to be built

STACK = ("license-proxy", "asr-sphinx", "asr-lb", "gateway", "operator", "license-authority")


@pytest.fixture(scope="module")
def stack(runner: Any, network: str) -> dict[str, Any]:
    """One container of each image, connected as in Compose, all healthy."""

    def on(alias: str) -> tuple[str, ...]:
        return ("--network", network, "--network-alias", alias)

    started = {
        "license-proxy": runner.license_proxy(*on("license-and-usage-proxy")),
        "asr-sphinx": runner.asr(*on("streaming-asr-english")),
        "asr-lb": runner.balancer(*on("streaming-asr-lb")),
        "operator": runner.operator(*on("operator")),
        "license-authority": runner.license_authority(*on("license-authority")),
    }
    started["license-proxy"].until_health("healthy")
    started["gateway"] = runner.gateway(*on("streaming-api"), license_proxy="license-and-usage-proxy")
    for container in started.values():
        container.until_health("healthy")
    return started


@pytest.mark.parametrize("image", STACK)
def test_it_becomes_healthy_by_its_own_command_and_all_its_processes_are_unprivileged(
    stack: dict[str, Any], image: str
) -> None:
    assert stack[image].users() == {"10001"}
    assert stack[image].inspect("{{json .Config.User}}") == "10001:10001"


@pytest.mark.parametrize("image", ["gateway", "license-proxy", "asr-sphinx", "operator"])
def test_it_needs_no_writable_folder(stack: dict[str, Any], image: str) -> None:
    assert stack[image].inspect("{{json .HostConfig.ReadonlyRootfs}}") is True
    assert stack[image].inspect("{{json .HostConfig.Tmpfs}}") is None
    assert [mount for mount in stack[image].inspect("{{json .Mounts}}") if mount["RW"]] == []


def test_the_balancer_checks_its_configuration_when_asked(stack: dict[str, Any]) -> None:
    balancer = stack["asr-lb"]
    _, _, said = balancer.docker.attempt("exec", balancer.container_id, "nginx", "-t")
    assert said.splitlines() == [
        "nginx: the configuration file /etc/nginx/nginx.conf syntax is ok",
        "nginx: configuration file /etc/nginx/nginx.conf test is successful",
    ]


@pytest.mark.parametrize("image", ["license-proxy", "license-authority", "asr-sphinx", "asr-lb", "operator"])
def test_a_sigterm_ends_it_with_0(runner: Any, image: str) -> None:
    starts = {"license-proxy": runner.license_proxy, "asr-sphinx": runner.asr, "asr-lb": runner.balancer}
    starts |= {"license-authority": runner.license_authority, "operator": runner.operator}
    container = starts[image]()
    container.until_health("healthy")
    container.signal("TERM")
    assert container.wait() == 0, container.log


def test_a_sigterm_ends_a_gateway_with_0(stack: dict[str, Any], runner: Any, network: str) -> None:
    gateway = runner.gateway("--network", network, license_proxy="license-and-usage-proxy")
    gateway.until_health("healthy")
    gateway.signal("TERM")
    assert gateway.wait() == 0, gateway.log


def test_docker_stop_ends_a_balancer_with_0(runner: Any) -> None:
    balancer = runner.balancer()
    balancer.until_health("healthy")
    balancer.docker.capture("stop", balancer.container_id)
    assert balancer.wait() == 0, balancer.log


def test_a_gateway_with_tls_is_asked_for_its_health_with_tls(
    stack: dict[str, Any], runner: Any, network: str, tmp_path: Path
) -> None:
    certificate, key = write_self_signed(tmp_path, "streaming-api")
    for path in (tmp_path, certificate, key):
        path.chmod(0o755)
    gateway = runner.gateway(
        *("--network", network, "--volume", f"{tmp_path}:/tls:ro"),
        license_proxy="license-and-usage-proxy",
        AAI_WSS_PORT="8443",
        SSL_CERT_PATH="/tls/tls.crt",
        SSL_CERT_KEY="/tls/tls.key",
    )
    gateway.until_health("healthy")


def test_an_authority_keeps_its_key_and_its_ledger_where_it_may_write_and_nowhere_else(
    stack: dict[str, Any], runner: Any
) -> None:
    mounts = stack["license-authority"].inspect("{{json .Mounts}}")
    assert [mount["Destination"] for mount in mounts if mount["RW"]] == ["/var/lib/streamstack"]
    without = runner.start("license-authority", PUBLIC_URL="https://authority.test")
    assert without.wait() == 2
    assert "signing key /var/lib/streamstack/signing-key.pem: cannot be made: Read-only file system" in without.log


def test_ports_of_the_environment_are_the_ones_that_are_asked(runner: Any) -> None:
    proxy, asr = runner.license_proxy(HTTP_PORT="9001"), runner.asr(INTERNAL_PORT="9002", ENGINE="null")
    proxy.until_health("healthy")
    asr.until_health("healthy")


def test_an_unhealthy_gateway_says_why(runner: Any) -> None:
    gateway = runner.gateway("--health-retries=1", license_proxy="nowhere.invalid")
    gateway.until_health("unhealthy")
    assert "503 no word from the license proxy yet" in gateway.health[-1]


@pytest.mark.parametrize(
    ("image", "environment", "complaint"),
    [
        ("gateway", {"AAI_ASR_ENDPOINT": "asr:80", "AAI_WSS_PORT": "eighty"}, "AAI_WSS_PORT"),
        ("gateway", {}, "ASR_POOLS: expected at least one pool"),
        ("license-proxy", {"HTTP_PORT": "70000"}, "HTTP_PORT"),
        ("license-proxy", {"STREAMSTACK_CREDENTIAL_FILE": "/nowhere"}, "credential file /nowhere"),
        ("license-authority", {}, "PUBLIC_URL: expected the URL that customers use"),
        ("license-authority", {"PUBLIC_URL": "https://a.test", "PORT": "70000"}, "PORT"),
        ("license-authority", {"PUBLIC_URL": "https://a.test", "DATABASE_URL": "mysql://a"}, "DATABASE_URL"),
        ("asr-sphinx", {"MAX_OPEN_STREAMS": "0"}, "MAX_OPEN_STREAMS"),
        ("asr-sphinx", {"STREAMSTACK_CREDENTIAL_FILE": ""}, "STREAMSTACK_CREDENTIAL_FILE"),
        ("asr-sphinx", {"STREAMSTACK_CREDENTIAL_FILE": "/nowhere"}, "credential file /nowhere"),
        ("operator", {}, "no KUBECONFIG, and this is no pod"),
    ],
)
def test_bad_settings_end_it_with_2_and_are_named(
    runner: Any, image: str, environment: dict[str, str], complaint: str
) -> None:
    container = runner.start(image, **environment)
    assert container.wait() == 2
    assert complaint in container.log
    assert "Traceback" not in container.log


def test_an_engine_of_another_image_is_refused_by_name(runner: Any) -> None:
    container = runner.asr(ENGINE="nemotron")
    assert container.wait() != 0
    assert "engine 'nemotron' is not" in container.log
