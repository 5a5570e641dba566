"""Python runs this at start when the folder is on PYTHONPATH: names of ``E2E_HOSTS`` (``name=address,...``) resolve.

A client under test has to use an ingress by its name (SNI, Host, certificate), and no test may edit the machine's
/etc/hosts. Everything else about the client stays as it is.
"""

import os
import socket
from typing import Any

_ADDRESSES = dict(entry.split("=", 1) for entry in os.environ.get("E2E_HOSTS", "").split(",") if entry)
_getaddrinfo = socket.getaddrinfo


def _resolve(host: Any, *args: Any, **kwargs: Any) -> Any:
    return _getaddrinfo(_ADDRESSES.get(host, host), *args, **kwargs)


socket.getaddrinfo = _resolve
