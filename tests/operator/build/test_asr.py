"""A pool's pods, read as the ASR server itself reads them."""

from typing import Any

import pytest
from hypothesis import given, settings

from streamstack_asr.engines.nemotron.store import StoreSettings
from streamstack_asr.engines.registry import ENGINES
from streamstack_asr.settings import AsrSettings
from streamstack_operator.build import asr, asr_pod
from streamstack_operator.facts import Stack
from streamstack_operator.model.pool import Engine, Precision
from streamstack_operator.model.spec import StreamingStackSpec
from support.manifests import files, main_container, servers, template, variables
from support.stack_specs import stack, stacks


def with_pool(**fields: Any) -> Stack:
    spec = {"license": {"secretName": "license"}, "pools": [{"name": "english"} | fields]}
    return stack(StreamingStackSpec.model_validate(spec))


@pytest.fixture(scope="module")
def environment():
    """One for all examples: every example puts it back."""
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@settings(max_examples=40)
@given(stacks())
def test_the_server_takes_its_environment_and_means_what_the_pool_says(environment, made: Stack) -> None:
    for pool in made.spec.pools:
        deployment = servers(made, pool).deployment
        with environment.context() as patch:
            for name, value in variables(deployment).items():
                if isinstance(value, str):
                    patch.setenv(name, value)
            settings = AsrSettings()
        assert settings.routing_names == (pool.routing_name,)
        assert settings.max_open_streams == pool.slot_count
        assert (settings.server_port, settings.internal_port) == (50051, 8090)
        assert settings.stop_grace_seconds == pool.stop_grace_seconds
        if pool.engine is Engine.NEMOTRON:
            assert settings.device == ("cuda" if pool.gpus.count else "cpu")
            assert settings.precision == (pool.precision or Precision.AUTO).lower()
            assert settings.chunk_ms == ("" if pool.chunk_ms is None else str(pool.chunk_ms))
            assert settings.model_license_accepted == (pool.model_license or "")
            assert settings.model_archive == ("" if pool.model_archive is None else pool.model_archive.url)
            assert not settings.model_offline
        grace = template(deployment)["spec"]["terminationGracePeriodSeconds"]
        assert grace == pool.stop_grace_seconds + 30
        assert files(deployment)[settings.credential_file] == f"{made.name}-credential/credential"


def test_every_engine_is_one_that_a_server_knows_and_the_other_way_round() -> None:
    assert set(asr_pod.ENGINES) == set(Engine)
    assert set(asr_pod.ENGINES.values()) == set(ENGINES)


@pytest.mark.parametrize(("engine", "seconds"), [("Sphinx", 300), ("LoadTest", 300), ("Nemotron", 1800)])
def test_a_server_may_take_as_long_to_start_as_its_model_takes_to_load(engine: str, seconds: int) -> None:
    probe = main_container(servers(with_pool(engine=engine)).deployment)["startupProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] == seconds
    assert probe["httpGet"]["path"] == "/readyz"


def test_nemotron_takes_a_gpu_and_the_others_none_unless_asked_to() -> None:
    def limits(**fields: Any) -> dict[str, str]:
        found: dict[str, str] = main_container(servers(with_pool(**fields)).deployment)["resources"]["limits"]
        return found

    assert limits() == {"memory": "16Gi", "nvidia.com/gpu": "1"}
    assert limits(engine="Sphinx") == {"memory": "16Gi"}
    assert limits(gpu={"count": 0}) == {"memory": "16Gi"}
    assert limits(gpu={"resourceName": "amd.com/gpu", "count": 2}) == {"memory": "16Gi", "amd.com/gpu": "2"}


def test_a_gpu_of_the_resources_is_not_asked_for_twice() -> None:
    resources = {"requests": {"nvidia.com/gpu": 4, "cpu": 1}, "limits": {"nvidia.com/gpu": 4}}
    made = main_container(servers(with_pool(resources=resources)).deployment)["resources"]
    assert made == {"requests": {"cpu": "1"}, "limits": {"nvidia.com/gpu": "1"}}


def test_a_model_volume_is_mounted_read_only_and_the_engine_is_told_where() -> None:
    volume = {"claimName": "weights", "mountPath": "/data", "subPath": "nemotron"}
    deployment = servers(with_pool(modelVolume=volume)).deployment
    assert variables(deployment)["MODEL_DIR"] == "/data"
    assert {"name": "model", "mountPath": "/data", "readOnly": True, "subPath": "nemotron"} in main_container(
        deployment
    )["volumeMounts"]
    claim = {"claimName": "weights", "readOnly": True}
    assert {"name": "model", "persistentVolumeClaim": claim} in template(deployment)["spec"]["volumes"]
    assert "MODEL_DIR" not in variables(servers(with_pool()).deployment)


ARCHIVE = {"url": "https://models.example/english.tar", "sha256": "0" * 64, "addresses": ["192.0.2.0/24"]}


@pytest.mark.parametrize(
    ("store", "source"),
    [
        ({}, {"emptyDir": {"sizeLimit": "20Gi"}}),
        ({"size": "4Gi"}, {"emptyDir": {"sizeLimit": "4Gi"}}),
        ({"claimName": "models"}, {"persistentVolumeClaim": {"claimName": "models"}}),
        ({"hostPath": "/srv/models"}, {"hostPath": {"path": "/srv/models", "type": "Directory"}}),
    ],
)
def test_an_archive_is_kept_where_the_spec_says_and_the_engine_reads_what_it_is(
    store: dict[str, str], source: dict[str, Any]
) -> None:
    deployment = servers(with_pool(modelArchive=ARCHIVE | {"store": store}, modelLicense="OpenMDW-1.1")).deployment
    told = StoreSettings.from_environment(variables(deployment))
    assert (told.archive, told.archive_sha256) == (ARCHIVE["url"], ARCHIVE["sha256"])
    assert told.licenses_accepted == ("OpenMDW-1.1",)
    assert not told.offline
    (mount,) = (it for it in main_container(deployment)["volumeMounts"] if it["mountPath"] == str(told.store))
    assert "readOnly" not in mount
    assert {"name": mount["name"], **source} in template(deployment)["spec"]["volumes"]


def test_an_archive_that_may_be_fetched_from_nowhere_is_looked_for_in_its_store_alone() -> None:
    made = with_pool(modelArchive=ARCHIVE | {"addresses": [], "store": {"claimName": "models"}})
    assert StoreSettings.from_environment(variables(servers(made).deployment)).offline


def test_nemotron_is_told_its_device_step_and_precision() -> None:
    def told(**fields: Any) -> dict[str, Any]:
        found = variables(servers(with_pool(**fields)).deployment)
        return {name: found.get(name) for name in ("DEVICE", "CHUNK_MS", "PRECISION")}

    assert told() == {"DEVICE": "cuda", "CHUNK_MS": None, "PRECISION": None}
    assert told(chunkMs=1120, precision="Bf16") == {"DEVICE": "cuda", "CHUNK_MS": "1120", "PRECISION": "bf16"}
    assert told(gpu={"count": 0}, precision="Fp32") == {"DEVICE": "cpu", "CHUNK_MS": None, "PRECISION": "fp32"}
    assert told(engine="Sphinx") == {"DEVICE": None, "CHUNK_MS": None, "PRECISION": None}


def test_placement_is_passed_on_as_it_is() -> None:
    placement = {
        "nodeSelector": {"own.example/kind": "gpu"},
        "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
        "priorityClassName": "calls",
        "topologySpread": [{"topologyKey": "topology.kubernetes.io/zone", "maxSkew": 2}],
    }
    rendered = servers(with_pool(placement=placement, runtimeClassName="nvidia"))
    pod = template(rendered.deployment)["spec"]
    assert pod["nodeSelector"] == placement["nodeSelector"]
    assert pod["tolerations"] == placement["tolerations"]
    assert pod["priorityClassName"] == "calls"
    assert pod["runtimeClassName"] == "nvidia"
    (spread,) = pod["topologySpreadConstraints"]
    assert spread == {
        "maxSkew": 2,
        "topologyKey": "topology.kubernetes.io/zone",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": rendered.deployment["spec"]["selector"]["matchLabels"]},
    }


def test_shared_memory_and_temporary_files_have_the_memory_that_the_pool_gives_them() -> None:
    deployment = servers(with_pool(sharedMemory="2Gi")).deployment
    memory = {"emptyDir": {"medium": "Memory", "sizeLimit": "2Gi"}}
    for name, path in (("tmp", "/tmp"), ("shm", "/dev/shm")):  # noqa: S108 - the pod's own
        assert {"name": name, **memory} in template(deployment)["spec"]["volumes"]
        assert {"name": name, "mountPath": path} in main_container(deployment)["volumeMounts"]


def test_the_service_is_headless_so_that_gateways_see_every_pod() -> None:
    made = with_pool()
    service = asr.service(made, made.spec.pools[0], "0a1b2c3d")
    assert service["spec"]["clusterIP"] == "None"
    (port,) = service["spec"]["ports"]
    assert (port["port"], port["appProtocol"]) == (50051, "kubernetes.io/h2c")
