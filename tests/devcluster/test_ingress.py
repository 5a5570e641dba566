import pytest

from devcluster.ingress import manifests
from devcluster.kind_config import INGRESS_NODE_PORT


@pytest.fixture(scope="module")
def text() -> str:
    return manifests("streamstack/traefik:x")


def test_the_image_is_named_as_the_node_names_it_and_the_service_is_where_the_port_leads(text: str) -> None:
    assert "image: docker.io/streamstack/traefik:x" in text
    assert f"nodePort: {INGRESS_NODE_PORT}" in text
    assert "${" not in text


def test_no_timeout_cuts_a_session_of_three_hours(text: str) -> None:
    entry = "--entrypoints.websecure.transport"
    assert f"{entry}.respondingTimeouts.readTimeout=0s" in text
    assert f"{entry}.respondingTimeouts.writeTimeout=0s" in text
    assert f"{entry}.lifeCycle.graceTimeOut=10800s" in text
    assert "terminationGracePeriodSeconds: 11100" in text
