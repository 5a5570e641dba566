"""The certificates of a control plane, as strict clients see them."""

import socket
import ssl

import pytest


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "kubernetes.default.svc"])
def test_the_api_servers_passes_the_strictest_checks(control_plane, name):
    """Python 3.13 verifies strictly by default."""
    tls = ssl.create_default_context(cafile=control_plane.kubeconfig.parent / "pki" / "ca.crt")
    tls.verify_flags |= ssl.VERIFY_X509_STRICT
    with (
        socket.create_connection(("127.0.0.1", control_plane.api_port)) as connection,
        tls.wrap_socket(connection, server_hostname=name) as server,
    ):
        assert server.version() == "TLSv1.3"


def test_another_name_is_refused(control_plane):
    tls = ssl.create_default_context(cafile=control_plane.kubeconfig.parent / "pki" / "ca.crt")
    with (
        socket.create_connection(("127.0.0.1", control_plane.api_port)) as connection,
        pytest.raises(ssl.SSLCertVerificationError),
    ):
        tls.wrap_socket(connection, server_hostname="streamstack.example")
