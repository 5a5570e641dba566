"""The request target of an upgrade: where it points and which parameters it carries, within bounds."""

from urllib.parse import parse_qs

from streamstack_gateway.errors import invalid_request

PATHS = ("/v3/ws", "/")
"""``/`` is what the self-hosting stack's example client uses (``reference/assemblyai-protocol.md`` 1)."""

TARGET_BYTES_MAX = 16 * 1024
"""A hundred key terms of fifty letters, percent-encoded, take about 8 KiB."""

PARAMETERS_MAX = 256


def parameters(target: str) -> dict[str, list[str]]:
    """Every parameter with a value, decoded, in order of appearance. Raises SessionError 3006."""
    return _parse(_readable(target).partition("?")[2])


def v3_parameters(target: str) -> dict[str, list[str]]:
    """The same, for a target that must be one of ``PATHS``. Raises SessionError 3006."""
    path, _, query = _readable(target).partition("?")
    if path not in PATHS:
        raise invalid_request(f"Invalid path. Expected {' or '.join(PATHS)}")
    return _parse(query)


def _readable(target: str) -> str:
    """The target as text: raw UTF-8 in it, which HTTP forbids and clients send, arrives as surrogates."""
    if len(target) > TARGET_BYTES_MAX:
        raise invalid_request(f"Request target too long. Expected at most {TARGET_BYTES_MAX} bytes")
    try:
        return target.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    except UnicodeEncodeError:
        raise invalid_request("Request target is not text. Expected ASCII with percent-encoding") from None


def _parse(query: str) -> dict[str, list[str]]:
    try:
        return parse_qs(query, max_num_fields=PARAMETERS_MAX)
    except ValueError:
        raise invalid_request(f"Too many query parameters. Expected at most {PARAMETERS_MAX}") from None
