"""Settings of the operator, as an environment gives them."""

import tomllib
from pathlib import Path

import pytest

from streamstack_common.settings import load
from streamstack_operator.settings import IMAGE_TAG, OperatorSettings


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("STREAMSTACK_CREDENTIAL_FILE", "credential")

    def make(**environment: str) -> OperatorSettings:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        return load(OperatorSettings, [])

    return make


def test_by_default_it_looks_after_all_namespaces_and_needs_no_lease(settings):
    made = settings()
    assert (made.namespaces, made.elects) == ((), False)
    assert (made.relist_seconds, made.watchdog_seconds, made.lease_seconds) == (600, 300, 15)
    assert made.pod_name


def test_in_a_pod_it_is_elected_unless_told_otherwise(settings):
    assert settings(POD_NAMESPACE="streamstack").elects
    assert not settings(LEADER_ELECT="false").elects


def test_an_election_needs_a_namespace(settings, capsys):
    with pytest.raises(SystemExit) as exit_:
        settings(LEADER_ELECT="true")
    assert exit_.value.code == 2
    assert "LEADER_ELECT needs POD_NAMESPACE" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("value", "expected"),
    [("prod", ("prod",)), (" prod, test ,,prod", ("prod", "test")), ("", ()), (" , ", ())],
)
def test_namespaces_are_separated_by_commas(settings, value, expected):
    assert settings(NAMESPACES=value).namespaces == expected


@pytest.mark.parametrize("value", ["Prod", "a b", "prod;test", "-a", "x" * 64])
def test_what_is_no_name_of_a_namespace_is_refused_by_name(settings, value, capsys):
    with pytest.raises(SystemExit):
        settings(NAMESPACES=f"prod,{value}")
    error = capsys.readouterr().err
    assert "--namespaces / NAMESPACES: expected names of namespaces separated by commas" in error
    assert value in error


def test_flags_are_understood_as_well(settings, monkeypatch):
    made = load(OperatorSettings, ["--namespaces", "a,b", "--workers", "3", "--credential-file", "credential"])
    assert (made.namespaces, made.workers) == (("a", "b"), 3)


def test_images_have_the_tag_of_this_version(settings):
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    assert project["version"] == IMAGE_TAG
    assert settings().images == {
        name: f"streamstack/{name}:{IMAGE_TAG}"
        for name in ("gateway", "license-proxy", "asr-lb", "asr-sphinx", "asr-nemotron")
    }


def test_images_and_version_can_be_given(settings):
    made = settings(IMAGE_ASR_LB="mirror/lb@sha256:0", STREAMSTACK_VERSION="9.9.9")
    assert made.images["asr-lb"] == "mirror/lb@sha256:0"
    assert made.version == "9.9.9"
