import pytest

from devcluster.loading import digests, normalised


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("nginx", "docker.io/library/nginx:latest"),
        ("nginx:1.27", "docker.io/library/nginx:1.27"),
        ("streamstack/gateway:0.1.0", "docker.io/streamstack/gateway:0.1.0"),
        ("streamstack/gateway", "docker.io/streamstack/gateway:latest"),
        ("localhost/x:1", "localhost/x:1"),
        ("localhost:5000/x", "localhost:5000/x:latest"),
        ("example.org/a/b:2", "example.org/a/b:2"),
        ("example.org/a@sha256:00", "example.org/a@sha256:00"),
    ],
)
def test_a_reference_is_written_as_containerd_writes_it(written: str, meant: str) -> None:
    assert normalised(written) == meant


def test_an_image_is_known_by_its_configuration_and_by_its_manifest() -> None:
    answer = 'docker.io/a/b:1 sha256:m {"schemaVersion": 2, "config": {"digest": "sha256:c"}, "layers": []}\n'
    assert digests(answer) == {"docker.io/a/b:1": {"sha256:m", "sha256:c"}}


def test_an_image_of_several_platforms_is_known_by_its_index_and_its_manifests() -> None:
    answer = 'docker.io/a/b:1 sha256:i {"manifests": [{"digest": "sha256:m"}, {"digest": "sha256:n"}]}\n'
    assert digests(answer) == {"docker.io/a/b:1": {"sha256:i", "sha256:m", "sha256:n"}}


def test_a_node_without_the_images_answers_nothing() -> None:
    assert digests("") == {}
