"""``compose.yaml`` and ``.env.example`` as they are written: tier 0. What they do is proved in ``e2e/compose``."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
COMPOSE_TEXT = (ROOT / "compose.yaml").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load(COMPOSE_TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
EXAMPLE = (ROOT / ".env.example").read_text()
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]

SEED_SERVICES = {
    "streaming-api", "streaming-asr-lb", "streaming-asr-english", "streaming-asr-multilang", "streaming-asr-u3pro",
    "license-and-usage-proxy",
}  # fmt: skip
SEED_VARIABLES = {
    "STREAMING_API_IMAGE", "LICENSE_AND_USAGE_PROXY_IMAGE", "STREAMING_ASR_ENGLISH_IMAGE",
    "STREAMING_ASR_MULTILANG_IMAGE", "STREAMING_ASR_U3PRO_IMAGE", "LICENSE_FILE_PATH", "USAGE_TRACKING_API_KEY",
    "AAI_WSS_PORT", "AAI_LOG_LEVEL", "AAI_USE_STRUCTURED_LOGGING", "AAI_ASR_ENDPOINT",
    "AAI_USE_SECURE_CHANNEL_TO_ASR_SERVICE", "AAI_LICENSE_AND_USAGE_PROXY_ENDPOINT", "LOGGING_LEVEL",
    "USE_STRUCTURED_LOGGING", "MAX_OPEN_STREAMS",
}  # fmt: skip


def comment_free(text: str) -> str:
    return "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))


def environment(service: str) -> dict[str, str | None]:
    """Variables of a service; None where Compose hands on what it was given itself."""
    given = SERVICES[service].get("environment", {})
    if isinstance(given, dict):
        return given
    return {name: value or None for name, _, value in (entry.partition("=") for entry in given)}


def used() -> dict[str, set[str]]:
    """Every variable ``compose.yaml`` takes from ``.env``, with the defaults it gives it."""
    found: dict[str, set[str]] = {}
    text = comment_free(COMPOSE_TEXT)
    for name, default in re.findall(r"\$\{(\w+)(?::-((?:\$\{[^}]*\}|[^}])*))?", text):
        found.setdefault(name, set()).add(default)
    for service in SERVICES:
        for name, value in environment(service).items():
            if value is None:
                found.setdefault(name.partition("$")[0], set())
    return found


def shown() -> dict[str, str]:
    """Every variable ``.env.example`` shows, with its value."""
    return dict(re.findall(r"^(?:# )?([A-Z0-9_]+)=(.*)$", EXAMPLE, re.MULTILINE))


def test_the_seeds_services_are_there_by_their_names() -> None:
    assert SERVICES.keys() >= SEED_SERVICES


def test_every_default_image_is_of_this_version() -> None:
    images = {service["image"] for service in SERVICES.values()}
    assert {re.fullmatch(r"\$\{\w+:-streamstack/[\w-]+:([^}]+)\}", image)[1] for image in images} == {VERSION}  # type: ignore[index]
    assert set(re.findall(r"streamstack/[\w-]+:(\S+?)(?=[.]?$)", EXAMPLE, re.MULTILINE)) == {VERSION}


def test_the_seeds_names_are_in_the_example() -> None:
    assert shown().keys() >= SEED_VARIABLES


def test_the_example_shows_what_the_compose_file_takes_and_nothing_else() -> None:
    assert shown().keys() == used().keys()


def test_the_example_shows_the_defaults_in_force() -> None:
    for name, value in shown().items():
        defaults = {default for default in used()[name] if default and not default.startswith("${")}
        if defaults and value:
            assert value in defaults, name


def test_every_variable_in_the_example_has_its_meaning_above_it() -> None:
    for block in EXAMPLE.split("\n\n"):
        if re.search(r"^(?:# )?[A-Z0-9_]+=", block, re.MULTILINE):
            assert not re.match(r"(?:# )?[A-Z0-9_]+=", block), block


def test_only_the_choice_of_speech_recognition_is_not_a_comment() -> None:
    assert re.findall(r"^[A-Z0-9_]+=.*$", EXAMPLE, re.MULTILINE) == ["COMPOSE_PROFILES=sphinx"]


def test_sealed_only_the_gateway_has_a_port_outside_and_by_default_on_loopback() -> None:
    assert [name for name, service in SERVICES.items() if "ports" in service] == ["streaming-api"]
    assert SERVICES["streaming-api"]["ports"] == ["${AAI_WSS_ADDRESS:-127.0.0.1}:${AAI_WSS_PORT:-8080}:8080"]


def test_sealed_only_gateway_and_license_proxy_have_a_way_out_and_each_its_own() -> None:
    assert COMPOSE["networks"]["inside"] == {"internal": True}
    others = {name: set(service["networks"]) - {"inside"} for name, service in SERVICES.items()}
    outside = {name: networks for name, networks in others.items() if networks}
    assert outside == {"streaming-api": {"edge"}, "license-and-usage-proxy": {"authority"}}


def test_what_is_not_reported_yet_outlives_the_containers() -> None:
    for name, volume in (("streaming-api", "gateway-state"), ("license-and-usage-proxy", "license-journal")):
        assert environment(name)["STATE_DIR"] == "/var/lib/streamstack"
        assert f"{volume}:/var/lib/streamstack" in SERVICES[name]["volumes"]
        assert volume in COMPOSE["volumes"]


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_every_container_has_no_right_it_does_not_need(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "cap_add" not in service
    assert "user" not in service, "images choose their own user, and none is root"
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["logging"]["options"].keys() == {"max-size", "max-file"}


@pytest.mark.parametrize("name", sorted(SERVICES.keys() - {"credential"}))
def test_every_service_comes_back_by_itself_and_says_how_it_is(name: str) -> None:
    assert SERVICES[name]["restart"] == "unless-stopped"
    assert SERVICES[name]["healthcheck"]["interval"] == "5s"
    assert SERVICES[name]["deploy"]["resources"]["limits"].keys() == {"cpus", "memory"}


def test_nobody_starts_without_the_credential_and_nobody_but_its_maker_may_write_it() -> None:
    for name in SERVICES.keys() - {"credential", "streaming-asr-lb"}:
        assert SERVICES[name]["depends_on"]["credential"] == {"condition": "service_completed_successfully"}
        mounts = [mount for mount in SERVICES[name]["volumes"] if "/run/streamstack" in str(mount)]
        assert [mount["read_only"] for mount in mounts] == [True]
        assert environment(name)["STREAMSTACK_CREDENTIAL_FILE"] == "/run/streamstack/credential"


def test_no_cut_servers_and_balancer_are_stopped_after_the_gateway() -> None:
    """Compose stops in the reverse order of ``depends_on``."""
    servers = {name for name in SERVICES if name.startswith("streaming-asr-")} - {"streaming-asr-lb"}
    assert "streaming-asr-lb" in SERVICES["streaming-api"]["depends_on"]
    assert SERVICES["streaming-asr-lb"]["depends_on"].keys() == servers
    assert all(not wanted["required"] for wanted in SERVICES["streaming-asr-lb"]["depends_on"].values())


def test_no_cut_a_stopped_gateway_has_longer_than_the_longest_session() -> None:
    longest_seconds, grace_seconds = (int(shown()[name]) for name in ("MAX_SESSION_SECONDS", "STOP_GRACE_SECONDS"))
    assert longest_seconds < grace_seconds < 3 * 3600 + 5 * 60
    assert SERVICES["streaming-api"]["stop_grace_period"] == "${STREAMING_API_STOP_GRACE_PERIOD:-3h5m}"


@pytest.mark.parametrize(
    ("service", "profile", "engine", "model"),
    [
        ("streaming-asr-english", "sphinx", "sphinx", "en-default"),
        ("streaming-asr-multilang", "sphinx", "sphinx", "ml-default"),
        ("streaming-asr-english-gpu", "gpu", "nemotron", "en-default"),
        ("streaming-asr-multilang-gpu", "gpu", "nemotron", "ml-default"),
        ("streaming-asr-u3pro", "pro", "nemotron", "u3-pro"),
    ],
)
def test_a_profile_brings_its_engine_and_the_models_the_balancer_routes_by(
    service: str, profile: str, engine: str, model: str
) -> None:
    assert SERVICES[service]["profiles"] == [profile]
    given = environment(service)
    assert (given["ENGINE"], given["MODELS"], given["SERVER_PORT"]) == (engine, model, "50051")
    assert SERVICES[service]["build"]["target"] == engine


def test_servers_on_a_gpu_reserve_one_and_answer_to_the_seeds_names() -> None:
    for name, service in SERVICES.items():
        devices = service.get("deploy", {}).get("resources", {}).get("reservations", {}).get("devices", [])
        on_gpu = environment(name).get("ENGINE") == "nemotron"
        assert [(device["driver"], device["capabilities"]) for device in devices] == [("nvidia", ["gpu"])] * on_gpu
        if name.endswith("-gpu"):
            assert service["networks"] == {"inside": {"aliases": [name.removesuffix("-gpu")]}}


@pytest.mark.parametrize("name", [name for name in SERVICES if environment(name).get("ENGINE") == "nemotron"])
def test_a_server_on_a_gpu_reads_its_own_model_from_the_folder_of_all_and_cannot_write_there(name: str) -> None:
    (models,) = (mount for mount in SERVICES[name]["volumes"] if "MODELS_FOLDER" in str(mount))
    assert (models["target"], models["read_only"]) == ("/mnt/models", True)
    given = environment(name)
    (default,) = re.findall(r"^\$\{STREAMING_ASR_\w+_MODEL_DIR:-(/mnt/models/\w+)\}$", str(given["MODEL_DIR"]))
    others = {environment(other).get("MODEL_DIR") for other in SERVICES if other != name}
    assert default not in str(others)
    assert SERVICES[name]["shm_size"] == "${ASR_SHARED_MEMORY:-64m}"
    assert given["DEVICE"] == "cuda"
    # Empty would be a value: these are not set unless somebody sets them.
    assert {given[variable] for variable in ("MODEL_LICENSE_ACCEPTED", "CHUNK_MS", "PRECISION")} == {None}
    for folder in ("HOME", "TORCHINDUCTOR_CACHE_DIR"):
        assert any(str(given[folder]).startswith(writable) for writable in SERVICES[name]["tmpfs"])


def test_files_of_this_machine_have_to_be_there() -> None:
    mounts = [mount for service in SERVICES.values() for mount in service.get("volumes", []) if "bind" in mount]
    assert len(mounts) == 8
    for mount in mounts:
        assert mount["bind"] == {"create_host_path": False}
        assert mount["read_only"] is True
