"""What of a stack can be reached from outside, and what may run beside it."""

from dataclasses import replace

import pytest
from e2e.support.clients import transcribe
from e2e.support.recordings import EXAMPLE
from e2e.support.stack import Stack, name_of

from devcluster.errors import DevError
from streamstack_cli import exit_codes


async def test_a_client_that_does_not_trust_the_certificate_does_not_connect(stack: Stack) -> None:
    result = await transcribe(replace(stack.endpoint, authority=None), EXAMPLE)
    assert result.status == exit_codes.UNREACHABLE
    assert "certificate verify failed" in result.err


async def test_another_host_at_the_same_ingress_does_not_lead_here(stack: Stack) -> None:
    assert stack.get("/v3/ws/health")[0] == 200
    assert stack.get("/v3/ws/health", host=f"other.{stack.host}")[0] == 404


@pytest.mark.parametrize("path", ["/metrics", "/sessions", "/readyz", "/healthz", "/retire", "/resume"])
async def test_sealed_the_internal_port_is_not_reachable_through_the_ingress(stack: Stack, path: str) -> None:
    """Not even for somebody who has the credential."""
    gateway = (await stack.pods("gateway"))[0]
    read = "print(open('/run/streamstack/credential').read().split()[0])"
    token = await stack.python(name_of(gateway), read)
    status, body = stack.get(path, headers={"Authorization": f"Bearer {token}"})
    assert status >= 400
    assert "streamstack_" not in body
    assert "sessions" not in body


async def test_the_namespace_takes_no_pod_with_more_rights(stack: Stack) -> None:
    """So that these very manifests are proved to be within Pod Security "restricted"."""
    with pytest.raises(DevError, match='violates PodSecurity "restricted'):
        await stack.kubectl("run", "root", "--image=any", "--dry-run=server")
